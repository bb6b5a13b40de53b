"""A service whose events are in S3, told as its operator lives through it: a real process, a real server that fails."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftline.config.load import load
from driftline.errors import StorageError
from driftline.monitoring.rebuild import rebuild
from driftline.service.doctor import Status, diagnose
from driftline.service.runtime import Service
from driftline.store.blobs import Blobs
from driftline.store.log import EventLog
from driftline.store.s3 import Bucket, Patience
from tests.store.test_tidy import SCHEMA, append, ids
from tests.support.churn import MODEL, START, label, prediction, write_config
from tests.support.s3 import S3, SECRET
from tests.support.served import post, serving, wait_until_idle
from tests.support.servers import until
from tests.support.steps import deliver, work


def configured(folder: Path, address: str) -> Path:
    """A configuration with its events in S3, and its state on the disk."""
    path = write_config(folder, "database: sqlite:///./state.db\nscratch: ./scratch")
    path.write_text(path.read_text().replace("storage: ./data", f"storage: {address}"))
    return path


def get(address: str, path: str) -> httpx.Response:
    return httpx.get(address + path, timeout=20, trust_env=False, verify=False)


def rows(first: int, number: int) -> list[dict[str, Any]]:
    return [prediction(f"s{one}", one % 9 / 10, said=1, score=0.9) for one in range(first, first + number)]


def require_no_secret(text: str) -> None:
    assert SECRET not in text and "AKIATHEKEY" not in text and "Traceback" not in text


def driftline(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "driftline", *arguments, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_store_that_fails_in_every_way_loses_nothing_and_is_survived(
    tmp_path: Path, faulty_s3: S3, capfd: pytest.CaptureFixture[str]
) -> None:
    config, sent = configured(tmp_path, faulty_s3.address()), 0
    with serving(config) as (process, address):
        until(lambda: get(address, "/ready").status_code == 200, "readiness")
        for fault, words in (
            (500, "S3 answers 500 Internal Server Error"),
            ("lost", ""),
        ):
            faulty_s3.proxy.fault = lambda method, path, fault=fault: fault
            for _ in range(3):
                assert post(address, "predictions", rows(sent, 5))  # it goes on into the inbox
                sent += 5
            if words:
                ready = until(lambda: (got := get(address, "/ready")).status_code == 503 and got, "not ready")
                until(lambda words=words: words in get(address, "/ready").text, words)
                assert "s3://lake/" in str(ready.json()["problems"])
                require_no_secret(ready.text)
            assert get(address, "/health").json() == {"status": "ok"}
            faulty_s3.heal()
            wait_until_idle(address)
            assert get(address, f"/api/v1/models/{MODEL}").json()["predictions"] == sent
        assert post(address, "labels", [label(f"s{one}", 1, truth=0) for one in range(sent)])
        assert post(address, "predictions", [prediction("later", 9, said=1)])
        wait_until_idle(address)
        [alert, *_] = get(address, "/api/v1/alerts").json()["alerts"]
        process.terminate()
        assert process.wait(30) == 0
    require_no_secret("".join(capfd.readouterr()))
    rebuilt = driftline(config, "rebuild", MODEL, "--json")
    assert (rebuilt.returncode, json.loads(rebuilt.stdout)["differing"]) == (0, []), rebuilt.stderr
    explained = driftline(config, "explain", alert["id"], "--json")
    assert (explained.returncode, json.loads(explained.stdout)["rerun"]["same"]) == (0, True), explained.stderr
    faulty_s3.proxy.fault = lambda method, path: 403
    refused = driftline(config, "rebuild", MODEL, "--json")
    assert refused.returncode != 0 and refused.stderr.count("\n") == 1 and "S3 refuses it (403)" in refused.stderr
    assert not (tmp_path / "scratch" / "log").exists()


def test_one_log_is_read_alike_from_a_bucket_and_a_folder(tmp_path: Path, s3: S3) -> None:
    found = []
    for path in (configured(tmp_path / "far", s3.address()), write_config(tmp_path / "near")):
        service = Service(load(path))
        deliver(service, "predictions", rows(0, 40))
        deliver(service, "labels", [label(f"s{one}", 1, truth=one % 2) for one in range(40)])
        deliver(service, "predictions", [prediction("later", 9, said=1)])
        work(service)
        assert rebuild(service.models[MODEL], service.state).differing == ()
        with service.state.read() as read:
            [first] = read.windows.at(MODEL, START)
        found.append((service.models[MODEL].log.known_rows().sort("id").rows(), first.profile))
        service.stop()
    assert found[0] == found[1]


def test_a_log_that_lost_a_file_in_the_bucket_says_so_at_the_start(tmp_path: Path, s3: S3) -> None:
    config = load(configured(tmp_path, s3.address()))
    service = Service(config)
    deliver(service, "predictions", rows(0, 4))
    work(service)
    service.stop()
    table: Blobs = config.blobs.within("log").within(MODEL).within("predictions")
    table.delete(next(one.name for one in table.list() if one.name.endswith(".parquet")))
    with pytest.raises(StorageError, match=r"s3://lake/.* of the event log is gone or cut off"):
        Service(config)


def doctor(config: Path) -> dict[str, Any]:
    return {one.name: one for one in diagnose(load(config), START).checks}


def test_doctor_says_what_is_wrong_with_a_bucket(
    tmp_path: Path, faulty_s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = faulty_s3.address()
    config = configured(tmp_path, address)
    assert doctor(config)["storage"].status is Status.OK
    assert Bucket.at(address).list() == []  # it leaves nothing behind
    faulty_s3.proxy.fault = lambda method, path: 403
    found = doctor(config)["storage"]
    assert found.status is Status.FAILED
    assert found.message == f"{address} cannot be written: S3 refuses it (403): these credentials may not do that"
    faulty_s3.heal()
    nowhere = doctor(configured(tmp_path / "nowhere", "s3://nobody-has-this/x"))["storage"]
    assert (nowhere.status, "there is no such bucket" in nowhere.message) == (Status.FAILED, True)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    away = doctor(config)["storage"]
    assert away.message == (
        f"{address} cannot be written: S3 cannot be reached; it is away, or AWS_ENDPOINT_URL leads elsewhere"
    )


def test_a_store_that_does_not_answer_is_waited_for_no_longer_than_said(faulty_s3: S3) -> None:
    patience = Patience(timedelta(seconds=0.5), timedelta(seconds=0.5), retries=0, retrying=timedelta(seconds=1))
    place = Bucket.at(faulty_s3.address(), patience)
    faulty_s3.proxy.fault = lambda method, path: "hang"
    faulty_s3.proxy.asked.clear()
    for ask in (lambda: place.get("a"), lambda: place.put("a", b""), place.list, lambda: place.delete("a")):
        with pytest.raises(StorageError, match="S3 did not answer in time"):
            ask()
    assert len(faulty_s3.proxy.asked) == 4  # none was asked again


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (500, "S3 answers 500 Internal Server Error"),
        (503, "S3 answers 503 Service Unavailable"),
        (403, "S3 refuses it (403): these credentials may not do that"),
        ("cut", "S3 broke the answer off"),
    ],
)
def test_blobs_log_and_scans_say_alike_what_is_wrong_and_nothing_secret(
    faulty_s3: S3, fault: str | int, words: str
) -> None:
    patience = Patience(timedelta(seconds=5), timedelta(seconds=5), retries=0)
    place = Bucket.at(faulty_s3.address(), patience)
    log = EventLog(place.within("m"), SCHEMA)
    append(log, 1, 2)
    faulty_s3.proxy.fault = lambda method, path: fault
    calls: list[Callable[[], object]] = [
        lambda: place.get("a"),
        lambda: place.put_new("a", b""),
        place.list,
        lambda: append(log, 3, 3),
        lambda: log.count("predictions"),
        lambda: EventLog(log.place, SCHEMA).last_seqs(),
        lambda: EventLog(log.place, SCHEMA).marks(),
    ]
    for call in calls:
        with pytest.raises(StorageError) as caught:
            call()
        assert str(caught.value).endswith(words) and str(caught.value).count("s3://lake/") == 1
        require_no_secret(str(caught.value))
    faulty_s3.heal()
    append(log, 3, 3)
    assert len(ids(log)) == 6
