"""Where events and blobs are: a folder, or an address in S3."""

from __future__ import annotations

from pathlib import Path

import pytest

from driftline.config.load import Config, load, parse
from driftline.environment import s3_settings
from driftline.errors import UsageError
from driftline.store.blobs import Folder
from driftline.store.s3 import Bucket

MODELS = "models: {churn: {reference: {path: reference.parquet}}}\n"


def read(more: str) -> Config:
    return parse(MODELS + more, Path("/etc/driftline/driftline.yaml"))


def test_a_folder_has_everything() -> None:
    config = read("storage: ./data")
    assert config.blobs == Folder(Path("/etc/driftline/data")) and config.bucket is None


def test_a_bucket_has_events_and_blobs_and_a_folder_the_work_of_this_machine() -> None:
    config = read("storage: s3://company-ml/driftline/\ndatabase: sqlite:///state.db")
    assert config.blobs == Bucket("company-ml", "driftline")
    assert config.storage == Path("/etc/driftline/driftline-data")
    assert read("storage: s3://b.c\ndatabase: sqlite:///s.db\nscratch: /tmp/x").storage == Path("/tmp/x")


def test_data_of_a_command_is_a_folder_instead_of_the_bucket() -> None:
    config = read("storage: s3://company-ml/driftline\ndatabase: sqlite:///state.db").at(Path("/copy"))
    assert config.blobs == Folder(Path("/copy")) and config.database == "sqlite:////copy/state.db"


def test_an_address_that_is_none_is_not_opened() -> None:
    for address in ("s3://", "s3://b", "s3://bucket/../x", "s3://bucket//x", "s3://bucket?x=1", "S3://bucket/x"):
        with pytest.raises(UsageError, match="write s3://BUCKET/PREFIX"):
            Bucket.at(address)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without anything of AWS's."""
    import os

    for name in [one for one in os.environ if one.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


def test_settings_come_from_variables(bare: pytest.MonkeyPatch) -> None:
    assert s3_settings() == {}
    bare.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    bare.setenv("AWS_ENDPOINT_URL", "https://minio.example")
    assert s3_settings() == {"aws_region": "eu-west-1", "aws_endpoint": "https://minio.example"}
    bare.setenv("AWS_REGION", "eu-north-1")
    bare.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")
    assert s3_settings() == {
        "aws_region": "eu-north-1",
        "aws_endpoint": "http://127.0.0.1:9000",
        "aws_allow_http": "true",
    }


def test_keys_come_from_aws_own_file_where_no_variable_has_them(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(
        "[default]\naws_access_key_id = A\naws_secret_access_key = B%\n[other]\naws_access_key_id = C\n"
        "aws_secret_access_key = D\naws_session_token = E\nregion = x\n"
    )
    bare.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    assert s3_settings() == {"aws_access_key_id": "A", "aws_secret_access_key": "B%"}
    bare.setenv("AWS_PROFILE", "other")
    assert s3_settings()["aws_session_token"] == "E"
    bare.setenv("AWS_ACCESS_KEY_ID", "F")
    assert "aws_access_key_id" not in s3_settings()
    bare.delenv("AWS_ACCESS_KEY_ID")
    file.write_text("what\nis this")
    with pytest.raises(UsageError, match="keys is no file of AWS credentials") as caught:
        s3_settings()
    assert "is this" not in str(caught.value)


def test_the_example_of_the_page_is_a_configuration(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "s3.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    path = tmp_path / "driftline.yaml"
    path.write_text(MODELS + example)
    assert load(path).blobs == Bucket("company-ml", "driftline")
