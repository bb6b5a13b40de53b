"""The files for CI: judged by the schemas that editors use, by a security linter, and by running what is in them."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from driftline.errors import UnknownNameError, UsageError
from driftline.exporters.ci import driftline_ci
from driftline.exporters.ci_files import FILES, Training, ci_files
from driftline.exporters.files import write_files
from driftline.net.signatures import is_signed, signed
from driftline.retrain.runners.github import GitHub
from driftline.retrain.runners.runner import Report
from driftline.retrain.runners.webhook import Webhook
from driftline.rules.evidence import Evidence, Said
from tests.retrain.runners.conftest import ID, NOW, request
from tests.support.receiver import Answer, Server

WORKFLOW = ".github/workflows/driftline-retrain-churn.yml"
ACTION = ".github/actions/driftline-gate/action.yml"
PIPELINE = ".gitlab/driftline-churn.gitlab-ci.yml"
SCHEMAS = {WORKFLOW: "vendor.github-workflows", ACTION: "vendor.github-actions", PIPELINE: "vendor.gitlab-ci"}
TOKEN = "t0ken-that-is-secret"
SECRET = "swordfish"
EVIDENCE = Evidence(label=["a"], champion=Said(["b"]), challenger=Said(["a"]))
CONTEST = {
    "decision": "promote",
    "reason": "accuracy is better by 0.021 [0.004, 0.038]",
    "gates": [{"name": "floor", "passed": True, "reason": "0.81 is above 0.75", "evidence": {}}],
}
HOSTILE = (
    'it\'s "low" $(touch evil) `touch evil`',
    "'; touch evil; '",
    "::add-mask::x %0A::set-output name=decision::promote",
    "- null",
    "yes",
    "{a: b} # & * ! | >",
    "précision 低 🌧",
    "--help",
    "[[ model ]] [% if x %] [# y #]",
    "}} {{ }}",
)
lines = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=40)
words = lines.filter(lambda text: text.isprintable() and bool(text) and "${{" not in text)
scripts = (
    st.lists(st.sampled_from(["", "  ", "\t"]).flatmap(lambda deep: lines.map(lambda line: deep + line)), min_size=1)
    .map("\n".join)
    .filter(lambda text: bool(text.strip()) and "${{" not in text)
    .filter(lambda text: all(line.replace("\t", " ").isprintable() for line in text.strip("\n").split("\n")))
)
trainings = st.builds(
    Training,
    model=st.sampled_from(["churn", "0", "null", "a.b_c-d"]),
    train=scripts,
    install=scripts,
    python=st.sampled_from(["3.12", "3.9", "3.13.1"]),
    champion=words,
    challenger=words,
    data=words,
    label=words,
    options=st.lists(words, max_size=4),
    minutes=st.integers(1, 360),
)


class _Loader(yaml.SafeLoader):
    """Takes `on` for a word, as GitHub does."""


_Loader.yaml_implicit_resolvers = {
    sign: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool"]
    for sign, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


def parsed(system: str, training: Training) -> dict[str, Any]:
    """The files of YAML, by name."""
    files = ci_files(system, training)
    return {file.name: yaml.load(file.text, _Loader) for file in files if file.name.endswith(".yml")}


def normal(script: str) -> str:
    """A script as it stands in a file: without what all its lines are indented by, or that is blank."""
    return "\n".join(line.strip() for line in script.replace("\t", " ").split("\n") if line.strip())


# ---- the files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", FILES)
def test_the_files_are_as_their_schemas_say(system: str) -> None:
    for name, document in parsed(system, Training("churn", options=["--measure=accuracy"])).items():
        jsonschema.validate(document, get_builtin_schema(SCHEMAS[name]))


@settings(max_examples=40)
@given(trainings)
def test_whatever_is_asked_for_the_workflow_says_it_and_nothing_else(training: Training) -> None:
    files = parsed("github", training)
    workflow = files[f".github/workflows/driftline-retrain-{training.model}.yml"]
    jsonschema.validate(workflow, get_builtin_schema(SCHEMAS[WORKFLOW]))
    job = workflow["jobs"]["retrain"]
    steps = {step.get("name", step.get("uses")): step for step in job["steps"]}
    assert len(steps) == 7
    assert normal(steps["Train"]["run"]) == normal(training.train)
    assert normal(steps["Install"]["run"]) == normal(training.install)
    given = steps["Gate"]["with"]
    assert (given["champion"], given["challenger"], given["data"]) == (
        training.champion,
        training.challenger,
        training.data,
    )
    assert given["options"].split("\n") == [f"--label={training.label}", *training.options]
    assert steps["actions/setup-python@v6"]["with"]["python-version"] == training.python
    assert job["timeout-minutes"] == training.minutes
    assert job["env"]["DRIFTLINE_MODEL"] == training.model


@settings(max_examples=40)
@given(trainings)
def test_whatever_is_asked_for_the_pipeline_says_it_and_nothing_else(training: Training) -> None:
    [document] = parsed("gitlab", training).values()
    jsonschema.validate(document, get_builtin_schema(SCHEMAS[PIPELINE]))
    [(name, job)] = document.items()
    assert name == f"driftline-retrain-{training.model}"
    assert len(job["script"]) == 5
    assert normal(job["script"][2]) == normal(training.install)
    assert normal(job["script"][3]) == normal(training.train)
    gate = next(line for line in job["script"][4].split("\n") if line.startswith("driftline gate "))
    said = subprocess.run(
        ["bash", "-c", 'driftline() { printf "%s\\0" "$@"; }\n' + gate.partition(" > ")[0]],
        capture_output=True,
        check=True,
    )
    got = said.stdout.decode().split("\0")[1:-1]
    expected = [
        f"--label={training.label}",
        *training.options,
        "--json",
        "--html",
        "driftline-run/report/gate.html",
        "--evidence",
        "driftline-run/report/evidence.json",
        "--",
    ]
    assert got == [*expected, training.champion, training.challenger, training.data]


def test_the_least_permissions_and_pinned_actions() -> None:
    files = parsed("github", Training("churn"))
    workflow, action = files[WORKFLOW], files[ACTION]
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in workflow["jobs"]["retrain"]
    assert set(workflow["on"]) == {"repository_dispatch", "workflow_dispatch"}
    steps = [*workflow["jobs"]["retrain"]["steps"], *action["runs"]["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", one) or one == "./.github/actions/driftline-gate" for one in used)
    text = "".join(file.text for file in ci_files("github", Training("churn")))
    assert "pinned by their major version" in text
    checkout = next(step for step in steps if step.get("uses", "").startswith("actions/checkout"))
    assert checkout["with"]["persist-credentials"] == "false" or checkout["with"]["persist-credentials"] is False
    secret = [step["name"] for step in steps if "secrets." in json.dumps(step)]
    assert secret == ["Report back"], "the user's code does not see the token"


def test_no_expression_stands_in_a_script() -> None:
    """GitHub pastes the values of expressions into scripts before they run: there, they would be code."""
    files = parsed("github", Training("churn"))
    scripts = [step["run"] for step in files[ACTION]["runs"]["steps"] if "run" in step]
    scripts += [step["run"] for step in files[WORKFLOW]["jobs"]["retrain"]["steps"] if "run" in step]
    assert len(scripts) == 5
    assert not any("${{" in script for script in scripts)


def audit(folder: Path) -> set[str]:
    """What zizmor finds."""
    zizmor = shutil.which("zizmor", path=str(Path(sys.executable).parent))
    if zizmor is None:
        pytest.skip("zizmor is not installed")
    command = [zizmor, "--offline", "--no-progress", "--format=json", "--no-exit-codes", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {one["ident"] for one in json.loads(done.stdout)}


def test_a_linter_of_security_finds_what_is_said_and_nothing_else(tmp_path: Path) -> None:
    """That actions are pinned by their version stands in the files; `$/` for `./` is another way to write the same."""
    write_files(ci_files("github", Training("churn", options=["--floor=0.7"])), tmp_path)
    assert audit(tmp_path) <= {"unpinned-uses", "self-repository"}
    path = tmp_path / WORKFLOW
    path.write_text(
        path.read_text().replace('--reason="$REASON"', '--reason="${{ github.event.client_payload.reason }}"')
    )
    assert "template-injection" in audit(tmp_path), "it would have found it"


def test_the_event_and_the_name_are_those_that_the_runner_knows(server: Server, tmp_path: Path) -> None:
    workflow = parsed("github", Training("churn"))[WORKFLOW]
    GitHub("a/b", TOKEN, server.url).start(request(), tmp_path)
    sent = server.got[0].json
    assert workflow["on"]["repository_dispatch"]["types"] == [sent["event_type"]]
    used = set(re.findall(r"client_payload\.(\w+)", json.dumps(workflow)))
    assert used <= set(sent["client_payload"])
    assert set(driftline_ci.FIELDS) == set(sent["client_payload"])
    assert "client_payload.request_id" in workflow["run-name"].split()[2]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "Churn Model"},
        {"model": ""},
        {"model": "a'b"},
        {"model": "a\n"},
        {"python": "3"},
        {"python": "3.12; touch evil"},
        {"python": "latest"},
        {"minutes": 0},
        {"minutes": 361},
        {"train": ""},
        {"train": " \n"},
        {"train": "a\x00b"},
        {"train": "a\rb"},
        {"train": "a\u2028b"},
        {"train": "echo ${{ github.event.client_payload.reason }}"},
        {"install": "\x1b[31m"},
        {"champion": "a\nb"},
        {"champion": ""},
        {"data": "${{ secrets.X }}"},
        {"options": ["--measure\n"]},
        {"options": [""]},
    ],
)
def test_what_cannot_stand_in_the_files_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="came"):
        Training(**{"model": "churn", **changes})


def test_an_unknown_system_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown CI system 'gitlub'; known: github, gitlab\. Did you mean"):
        ci_files("gitlub", Training("churn"))


@pytest.mark.parametrize("system", FILES)
def test_models_share_what_is_the_same_for_all(system: str) -> None:
    one, other = (dict(ci_files(system, Training(model))) for model in ("churn", "fraud"))
    shared = one.keys() & other.keys()
    assert all(one[name] == other[name] for name in shared)
    assert len(one) - len(shared) == 1


# ---- what runs in the jobs ---------------------------------------------------------------------------------

FAKE_GATE = """#!{python}
import json, os, sys
json.dump(sys.argv[1:], open("gate-words.json", "w"))
if sys.argv[1:2] == ["gate"] and "--html" in sys.argv:
    open(sys.argv[sys.argv.index("--html") + 1], "w").write("<html>")
    with open(sys.argv[sys.argv.index("--evidence") + 1], "w") as file:
        file.write('{{"label": ["a"], "champion": {{"prediction": ["b"]}}, "challenger": {{"prediction": ["a"]}}}}')
print(os.environ.get("GATE_SAYS", ""))
sys.exit(int(os.environ.get("GATE_CODE", "0")))
"""
TRAIN = """python - <<'END'
import json, os, pathlib
run = pathlib.Path(os.environ["DRIFTLINE_RUN"])
(run / "result.json").write_text(json.dumps({"version": "7", "predictions": {"challenger": "challenger.parquet"}}))
json.dump({name: value for name, value in os.environ.items() if name.startswith("DRIFTLINE")}, open("seen.json", "w"))
END"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the files, and a `driftline` that says what it is told to."""
    training = Training("churn", TRAIN, "echo installed", options=["--measure=accuracy", "--segment", "a b"])
    for system in FILES:
        write_files(ci_files(system, training), tmp_path / "repository")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "driftline").write_text(FAKE_GATE.format(python=sys.executable))
    (programs / "driftline").chmod(stat.S_IRWXU)
    (programs / "python").symlink_to(sys.executable)
    return tmp_path / "repository"


def run(script: str, checkout: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a step as the runners of GitHub and GitLab do."""
    path = f"{checkout.parent / 'programs'}:{os.environ['PATH']}"
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script]
    return subprocess.run(
        command,
        cwd=checkout,
        env={"PATH": path, "LANG": "C.UTF-8", "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


class Job:
    """Runs the steps of the workflow, with the values that expressions would have had."""

    def __init__(self, checkout: Path, payload: Mapping[str, str], server: str, **environment: str) -> None:
        self.checkout, self.environment = checkout, environment
        self.values = {
            **{f"github.event.client_payload.{name}": value for name, value in payload.items()},
            "github.workspace": str(checkout),
            "github.server_url": "https://github.example",
            "github.repository": "example/models",
            "github.run_id": "42",
            "vars.DRIFTLINE_URL": server,
            "secrets.DRIFTLINE_TOKEN": TOKEN,
            "secrets.DRIFTLINE_REPORT_SECRET": SECRET,
            "format('trial-{0}', github.run_id)": "trial-42",
            "'manual'": "manual",
        }
        self.status = "success"
        self.said: list[str] = []

    def fill(self, text: object) -> str:
        def value(found: re.Match[str]) -> str:
            ways = [self.values.get(way.strip(), "") for way in found[1].split("||")]
            return next((way for way in ways if way), "")

        return re.sub(r"\$\{\{(.*?)\}\}", value, str(text))

    def step(self, step: Mapping[str, Any], shared: Mapping[str, str]) -> None:
        own = {name: self.fill(value) for name, value in step.get("env", {}).items()}
        done = run(step["run"], self.checkout, {**shared, **self.environment, **own})
        self.said.append(done.stdout + done.stderr)
        if done.returncode:
            self.status = "failure"

    def run(self) -> str:
        workflow = yaml.load((self.checkout / WORKFLOW).read_text(), _Loader)
        action = yaml.load((self.checkout / ACTION).read_text(), _Loader)
        files = {"GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary"}
        shared = {name: str(self.checkout.parent / file) for name, file in files.items()}
        shared["GITHUB_ACTION_PATH"] = str((self.checkout / ACTION).parent)
        job = workflow["jobs"]["retrain"]
        shared |= {name: self.fill(value) for name, value in job["env"].items()}
        for step in job["steps"]:
            self.values["job.status"] = self.status
            if self.status != "success" and step.get("if") != "always()":
                continue
            if "run" in step:
                self.step(step, shared)
            elif step["uses"].startswith("./"):
                inputs = {name: one.get("default", "") for name, one in action["inputs"].items()} | step["with"]
                self.values |= {f"inputs.{name}": str(value) for name, value in inputs.items()}
                self.step(action["runs"]["steps"][0], shared)
        return self.status

    def read(self, name: str) -> str:
        path = self.checkout.parent / name
        return path.read_text() if path.exists() else ""


def payload(**changes: str) -> dict[str, str]:
    return {**request().payload(), **changes}


def reported(server: Server) -> Report:
    """The one report that came, to the right place with the token, and signed."""
    [got] = server.got
    now = datetime.fromtimestamp(int(got.headers["x-driftline-timestamp"]), UTC)
    signature = {name.lower(): value for name, value in signed(got.body, SECRET, now).items()}
    assert got.headers["x-driftline-signature"] == signature["x-driftline-signature"]
    assert SECRET.encode() not in got.body
    assert got.path == f"/api/v1/retraining/{ID}/result"
    assert got.headers["authorization"] == f"Bearer {TOKEN}"
    return msgspec.json.decode(got.body, type=Report)


@pytest.mark.parametrize(("decision", "code"), [("promote", "0"), ("hold", "1")])
def test_a_job_trains_judges_and_reports(server: Server, checkout: Path, decision: str, code: str) -> None:
    contest = {**CONTEST, "decision": decision}
    job = Job(checkout, payload(), server.url, GATE_SAYS=json.dumps(contest), GATE_CODE=code)
    assert job.run() == "success", job.said
    report = reported(server)
    assert report.ok and report.result is not None and report.result.version == "7"
    assert (report.evidence, report.link) == (EVIDENCE, "https://github.example/example/models/actions/runs/42")
    assert report.request_id == ID
    assert job.read("output") == f"decision={decision}\n"
    assert job.read("summary").startswith(f"### Driftline: {decision}\n")
    assert json.loads((checkout / "gate-words.json").read_text()) == [
        *(
            "gate",
            "--label=label",
            "--measure=accuracy",
            "--segment",
            "a b",
            "--json",
            "--html",
            "driftline-run/report/gate.html",
            "--evidence",
            "driftline-run/report/evidence.json",
            "--",
        ),
        *("driftline-run/champion.parquet", "driftline-run/challenger.parquet", "driftline-run/evaluation.parquet"),
    ]
    assert json.loads((checkout / "seen.json").read_text()) == {
        "DRIFTLINE_RUN": str(checkout / "driftline-run"),
        "DRIFTLINE_MODEL": "churn",
        "DRIFTLINE_REQUEST_ID": ID,
    }
    kept = json.loads((checkout / "driftline-run" / "request.json").read_text())
    assert kept == payload(callback=""), "the address to report to is the repository's, not the event's"


# As a run leaves it: the challenger is right more often.
REAL = """python - <<'END'
import json, os, pathlib
import polars as pl

run = pathlib.Path(os.environ["DRIFTLINE_RUN"])
labels = [number % 2 for number in range(600)]
def said(wrong): return [label if number % wrong else 1 - label for number, label in enumerate(labels)]
pl.DataFrame({"id": range(600), "label": labels, "wind": [0.5] * 600}).write_parquet(run / "evaluation.parquet")
pl.DataFrame({"id": range(600), "prediction": said(3)}).write_parquet(run / "champion.parquet")
pl.DataFrame({"id": range(600), "prediction": said(30)}).write_parquet(run / "challenger.parquet")
(run / "result.json").write_text(json.dumps({"version": "7", "predictions": {"challenger": "challenger.parquet"}}))
END"""


def test_the_real_gate_judges_in_both_systems(server: Server, tmp_path: Path) -> None:
    training = Training("churn", REAL, "driftline --version", options=["--id=id"])
    for system in FILES:
        write_files(ci_files(system, training), tmp_path / "repository")
    (tmp_path / "programs").mkdir()
    for name in ("python", "driftline"):  # a link to Python would leave its environment
        program = tmp_path / "programs" / name
        program.write_text(f'#!/bin/sh\nexec {Path(sys.executable).parent / name} "$@"\n')
        program.chmod(stat.S_IRWXU)
    job = Job(tmp_path / "repository", payload(), server.url)
    assert job.run() == "success", job.said
    first = reported(server)
    assert first.evidence is not None and first.evidence.id == [str(number) for number in range(600)]
    assert first.evidence.label == [str(number % 2) for number in range(600)]
    assert "### Driftline: promote" in job.read("summary")
    assert "| ✅ |" in job.read("summary")
    assert (tmp_path / "repository" / "driftline-run" / "report" / "gate.html").read_text().startswith("<!")
    server.got.clear()
    trigger = tmp_path / "payload"
    trigger.write_text(json.dumps(payload()))
    returned, said = pipeline(tmp_path / "repository", server.url, TRIGGER_PAYLOAD=str(trigger))
    assert returned == 0, said
    assert msgspec.structs.replace(reported(server), link=first.link) == first


def test_a_gate_that_cannot_judge_fails_the_job(server: Server, checkout: Path) -> None:
    job = Job(checkout, payload(), server.url, GATE_CODE="2")
    assert job.run() == "failure"
    report = reported(server)
    assert (report.ok, report.reason, report.evidence) == (False, "the job's status is failure", None)
    assert job.read("output") == ""


def test_a_training_that_fails_is_reported(server: Server, checkout: Path) -> None:
    path = checkout / WORKFLOW
    path.write_text(path.read_text().replace("echo installed", "false"))
    assert Job(checkout, payload(), server.url).run() == "failure"
    assert reported(server) == Report(False, "the job's status is failure", link=reported(server).link, request_id=ID)


@pytest.mark.parametrize("first", range(0, len(HOSTILE), 3))
def test_what_comes_with_an_event_is_data(server: Server, checkout: Path, first: int) -> None:
    one, two, three = (HOSTILE * 2)[first : first + 3]
    contest = {"decision": "promote", "reason": one, "gates": [{"name": two, "passed": None, "reason": three}]}
    sent = payload(reason=one, trigger=two, asked_at=three)
    job = Job(checkout, sent, server.url, GATE_SAYS=json.dumps(contest))
    assert job.run() == "success", job.said
    assert json.loads((checkout / "driftline-run" / "request.json").read_text()) == sent | {"callback": ""}
    assert not list(checkout.rglob("evil"))
    assert not any(line.startswith("::") for said in job.said for line in said.splitlines())
    assert job.read("output") == "decision=promote\n"


@pytest.mark.parametrize("id", ["../../x", "a b", "$(touch evil)", "x" * 65, "a\nb", "-x"])
def test_an_id_that_is_none_is_reported_nowhere(server: Server, checkout: Path, id: str) -> None:
    job = Job(checkout, payload(request_id=id), server.url)
    assert job.run() == "failure"
    assert "the id of the request is" in job.said[0]
    assert "Nothing is reported: there is no request." in job.said[-1]
    assert server.got == []
    assert not (checkout / "seen.json").exists(), "and nothing was trained"


def test_a_job_that_was_started_by_hand_reports_nothing(server: Server, checkout: Path) -> None:
    job = Job(checkout, {}, server.url, GATE_SAYS=json.dumps(CONTEST))
    assert job.run() == "success"
    assert "Nothing is reported: this was a trial." in job.said[-1]
    assert json.loads((checkout / "driftline-run" / "request.json").read_text())["request_id"] == "trial-42"
    assert server.got == []


def test_a_repository_without_an_address_reports_nothing(checkout: Path) -> None:
    job = Job(checkout, payload(), "", GATE_SAYS=json.dumps(CONTEST))
    assert job.run() == "success"
    assert "Nothing is reported: DRIFTLINE_URL is not set." in job.said[-1]


@pytest.mark.parametrize(("fail", "status"), [("true", "failure"), ("false", "success")])
def test_a_hold_fails_a_step_that_is_asked_to(server: Server, checkout: Path, fail: str, status: str) -> None:
    path = checkout / WORKFLOW
    text = path.read_text()
    path.write_text(text.replace("          report: dr", f'          fail-on-hold: "{fail}"\n          report: dr'))
    hold = json.dumps({**CONTEST, "decision": "hold"})
    job = Job(checkout, payload(), server.url, GATE_SAYS=hold, GATE_CODE="1")
    assert job.run() == status
    assert job.read("output") == "decision=hold\n"


# ---- GitLab ------------------------------------------------------------------------------------------------


def pipeline(checkout: Path, server: str, **environment: str) -> tuple[int, str]:
    """Run the job as GitLab does: the lines of a script in one shell, and those after it in another."""
    [job] = yaml.load((checkout / PIPELINE).read_text(), _Loader).values()
    given = {
        "CI_PROJECT_DIR": str(checkout),
        "CI_PIPELINE_ID": "42",
        "CI_JOB_URL": "https://gitlab.example/jobs/1",
        "DRIFTLINE_URL": server,
        "DRIFTLINE_TOKEN": TOKEN,
        "DRIFTLINE_REPORT_SECRET": SECRET,
        **environment,
    }
    done = run("\n".join(job["script"]), checkout, given)
    status = "failed" if done.returncode else "success"
    after = run("\n".join(job["after_script"]), checkout, given | {"CI_JOB_STATUS": status})
    return done.returncode, done.stdout + done.stderr + after.stdout + after.stderr


@pytest.fixture
def trigger(server: Server, tmp_path: Path) -> Path:
    """The file that GitLab makes of what our webhook sent."""
    Webhook(f"{server.url}/trigger/pipeline?token=x", lambda: NOW).start(request(), tmp_path / "run")
    path = tmp_path / "payload"
    path.write_text(json.dumps({**server.got.pop().json, "id": "9", "ref": "main", "variables": {}}))
    return path


@pytest.mark.parametrize(("decision", "code"), [("promote", "0"), ("hold", "1")])
def test_a_pipeline_trains_judges_and_reports(
    server: Server, checkout: Path, trigger: Path, decision: str, code: str
) -> None:
    contest = {**CONTEST, "decision": decision}
    given = {"TRIGGER_PAYLOAD": str(trigger), "GATE_SAYS": json.dumps(contest), "GATE_CODE": code}
    returned, said = pipeline(checkout, server.url, **given)
    assert returned == 0, said
    assert f"Driftline: {decision}\n" in said
    report = reported(server)
    assert report.ok and report.result is not None and report.evidence == EVIDENCE
    assert report.link == "https://gitlab.example/jobs/1"
    seen = json.loads((checkout / "seen.json").read_text())
    assert seen["DRIFTLINE_REQUEST_ID"] == ID and seen["DRIFTLINE_MODEL"] == "churn"


@pytest.mark.parametrize("first", range(0, len(HOSTILE), 3))
def test_what_comes_with_a_trigger_is_data(server: Server, checkout: Path, trigger: Path, first: int) -> None:
    one, two, three = (HOSTILE * 2)[first : first + 3]
    trigger.write_text(json.dumps({**payload(reason=one, trigger=two), "variables": {"PATH": three}}))
    given = {"TRIGGER_PAYLOAD": str(trigger), "GATE_SAYS": json.dumps({**CONTEST, "reason": two})}
    returned, said = pipeline(checkout, server.url, **given)
    assert returned == 0, said
    assert not list(checkout.rglob("evil"))
    assert json.loads((checkout / "driftline-run" / "request.json").read_text())["reason"] == one


def test_a_pipeline_of_another_model_has_nothing_to_do(server: Server, checkout: Path, trigger: Path) -> None:
    trigger.write_text(json.dumps(payload(model="fraud")))
    returned, said = pipeline(checkout, server.url, TRIGGER_PAYLOAD=str(trigger))
    assert returned == 0
    assert "the request is for 'fraud', this job for 'churn': nothing to do" in said
    assert "Nothing is reported: there is no request." in said
    assert server.got == [] and not (checkout / "seen.json").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": "churn"}', '{"model": "churn", "request_id": "../x"}'])
def test_a_trigger_without_a_request_fails(server: Server, checkout: Path, trigger: Path, content: str) -> None:
    trigger.write_text(content)
    returned, said = pipeline(checkout, server.url, TRIGGER_PAYLOAD=str(trigger))
    assert returned == 1, said
    assert server.got == [] and not (checkout / "seen.json").exists()


def test_a_pipeline_that_was_started_by_hand_reports_nothing(server: Server, checkout: Path) -> None:
    returned, said = pipeline(checkout, server.url, GATE_SAYS=json.dumps(CONTEST))
    assert returned == 0, said
    assert "Nothing is reported: this was a trial." in said
    assert server.got == []


def test_a_pipeline_whose_gate_cannot_judge_fails(server: Server, checkout: Path, trigger: Path) -> None:
    returned, _ = pipeline(checkout, server.url, TRIGGER_PAYLOAD=str(trigger), GATE_CODE="2")
    assert returned == 2
    assert reported(server).reason == "the job's status is failed"


# ---- the report --------------------------------------------------------------------------------------------


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The folder of a run that has ended."""
    driftline_ci.request(tmp_path, payload(), "churn")
    (tmp_path / "result.json").write_text('{"version": "1", "predictions": {"challenger": "c.parquet"}}')
    return tmp_path


def test_a_report_is_sent_again_while_the_server_is_away(server: Server) -> None:
    server.answers = [Answer(503), Answer(429), Answer(500), Answer(202)]
    driftline_ci.post(server.url, {"ok": True}, TOKEN, pause_seconds=0.01)
    assert [got.json for got in server.got] == [{"ok": True}] * 4


@pytest.mark.parametrize(
    ("answers", "tries", "said"),
    [
        ([Answer(404, body=b"no such request")], 1, "status 404: no such request"),
        ([Answer(401, body=f"not\n::error::{TOKEN}".encode())], 1, "status 401: not ::error::…"),
        ([Answer(307, {"Location": "http://127.0.0.1:9/"})], 1, "status 307"),
        ([Answer(503)] * 4, 4, "status 503"),
    ],
)
def test_a_report_that_is_not_taken_fails_the_job(server: Server, answers: list[Answer], tries: int, said: str) -> None:
    server.answers = answers
    with pytest.raises(SystemExit) as caught:
        driftline_ci.post(server.url, {}, TOKEN, pause_seconds=0.01)
    assert said in str(caught.value) and TOKEN not in str(caught.value) and "\n" not in str(caught.value)
    assert len(server.got) == tries


def test_a_driftline_that_cannot_be_reached_is_said() -> None:
    with pytest.raises(SystemExit, match="Driftline cannot be reached"):
        driftline_ci.post("http://127.0.0.1:9/", {}, "", pause_seconds=0.01)


def test_a_report_without_a_token_has_no_header(server: Server) -> None:
    driftline_ci.post(server.url, {}, "")
    assert "authorization" not in server.got[0].headers


@pytest.mark.parametrize("status", ["failure", "cancelled", "success"])
def test_what_the_report_says_is_what_the_server_reads(finished: Path, status: str) -> None:
    evidence = msgspec.to_builtins(EVIDENCE)
    report = driftline_ci.report(finished, ID, evidence, status, "https://x")
    read = msgspec.json.decode(json.dumps(report), type=Report)
    assert read.ok == (status == "success") == (read.result is not None) == (read.evidence == EVIDENCE)
    assert read.request_id == ID
    assert read.reason == ("" if read.ok else f"the job's status is {status}")
    nothing = driftline_ci.report(finished, ID, None, "success", "")
    assert (nothing["ok"], nothing["reason"]) == (False, "the job left no evidence of the contest")
    (finished / "result.json").unlink()
    nothing = driftline_ci.report(finished, ID, evidence, "success", "")
    assert (nothing["ok"], nothing["reason"]) == (False, "the job left no result.json")


def test_a_report_is_signed_as_driftline_signs_and_each_try_anew(server: Server) -> None:
    server.answers = [Answer(503), Answer(202)]
    driftline_ci.post(server.url, {"ok": True}, "", SECRET, pause_seconds=0.01)
    for got in server.got:
        now = datetime.fromtimestamp(int(got.headers["x-driftline-timestamp"]), UTC)
        assert is_signed(got.body, Headers(got.headers), SECRET, now)
        assert not is_signed(got.body, Headers(got.headers), SECRET, now + timedelta(seconds=301))
        assert not is_signed(got.body + b" ", Headers(got.headers), SECRET, now)


@given(st.text(max_size=60) | st.sampled_from(HOSTILE))
def test_nothing_in_a_summary_is_markup(text: str) -> None:
    gates = [{"name": text, "passed": False, "reason": text}, {"name": text}]
    markdown = driftline_ci.summary({"decision": text, "reason": text, "gates": gates})
    rows = markdown.split("\n")
    assert len(rows) == 9
    assert all(row.count("|") == 4 for row in rows[4:8])
    assert not re.search(r"[<`*\[\]\\]", "".join(rows[:3] + rows[6:]))


@pytest.mark.parametrize("contest", [None, {}, {"decision": None, "gates": [3, {}]}, {"gates": None}])
def test_a_contest_that_is_not_as_expected_is_shown_as_far_as_it_goes(contest: dict[str, Any] | None) -> None:
    assert driftline_ci.summary(contest).startswith("### Driftline: ")
    assert driftline_ci.plain(contest).startswith("Driftline: ")


def test_a_decision_as_text_is_two_lines_without_control_signs() -> None:
    said = driftline_ci.plain({"decision": "hold\n::error::", "reason": "\x1b[31mred"})
    assert said == "Driftline: hold::error::\n[31mred\n"


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    yield
    assert not Path("evil").exists()
