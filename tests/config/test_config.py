"""The configuration: by its mistakes, by its page, and that nothing but `Config` or `ConfigError` ever comes of a text.

Each file in ``data/config`` is one mistake. Its first line is the whole message without the path, its second what the
JSON Schema says of it: it refuses it, takes it (only Driftline knows better) or cannot see it (it is not YAML).
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from driftline.config.calendar import read_calendar
from driftline.config.load import FILE_LIMIT_BYTES, Config, load, parse
from driftline.config.schema import json_schema
from driftline.errors import ConfigError, UsageError
from driftline.events import Task, WindowSpec
from driftline.profiles import Columns
from driftline.rules import Rule, Severity
from driftline.store.keep import Keep

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text()
MISTAKES = sorted((ROOT / "tests" / "data" / "config").glob("*.yaml"))
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
PATH = Path("folder/driftline.yaml")

[EXAMPLE] = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
PLAIN = yaml.safe_load(EXAMPLE)
SMALL = "models:\n  churn:\n    reference: {path: reference.parquet}\n"


def schema_says(data: bytes) -> str:
    """What the schema says of a file, read by another reader than ours."""
    try:
        plain = yaml.safe_load(data.decode())
    except (yaml.YAMLError, ValueError, KeyError, OverflowError):  # but for the first PyYAML's own mistakes
        return "cannot see it"
    return "takes it" if VALIDATOR.is_valid(plain) else "refuses it"


# ---- mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MISTAKES, ids=lambda path: path.stem)
def test_a_mistake_is_one_line_with_file_line_and_key(path: Path) -> None:
    data = path.read_bytes()
    first, second = (line.decode() for line in data.split(b"\n")[:2])
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}{first.removeprefix('# error: ')}"
    assert "\n" not in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert schema_says(data) == second.removeprefix("# schema: ")


def test_a_file_that_is_not_there_or_is_no_file_or_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file; write one, or name it with --config"):
        load(tmp_path / "driftline.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)
    (tmp_path / "large.yaml").write_text(SMALL + "#" * FILE_LIMIT_BYTES)
    with pytest.raises(ConfigError, match="more than 1048576 bytes"):
        load(tmp_path / "large.yaml")


def test_the_command_line_says_a_mistake_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "driftline.yaml").write_text(SMALL + "storag: ./data\n")
    done = subprocess.run(
        [sys.executable, "-m", "driftline", "serve"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "driftline: driftline.yaml:4: storag: is not a known key; known: models, notify, prometheus, limits, auth, "
        "tls, log, url, hosts, registry, keep, storage, scratch, database. Did you mean 'storage'?\n"
    )


# ---- what is taken -----------------------------------------------------------------------------------------


def test_a_small_file_has_the_defaults_of_the_page() -> None:
    config = parse(SMALL, PATH)
    model = config.models["churn"]
    assert (model.name, model.task, model.positive, model.season) == ("churn", None, None, "auto")
    assert (model.columns, model.window, model.rules) == (Columns(), WindowSpec("1d", "UTC"), ())
    assert model.labels.expected_within == timedelta(days=7)
    assert model.labels.accepted_for == timedelta(days=90)
    assert model.reference == Path("folder/reference.parquet")
    assert (config.notify, config.storage) == ((), Path("folder/driftline-data"))
    assert config.database == "sqlite:///folder/driftline-data/state.db"


def test_events_are_kept_as_long_as_a_model_needs_unless_somebody_says_how_long() -> None:
    assert parse(SMALL, PATH).keep == Keep(events={"churn": timedelta(days=400)})
    patient = SMALL + "    labels: {accepted_for: 500d}\n"
    assert parse(patient, PATH).keep.events == {"churn": timedelta(days=501)}
    said = parse(SMALL + "keep: {events: forever, quarantine: forever, windows: forever, runs: 1d}\n", PATH).keep
    assert (said.events, said.quarantine, said.windows, said.runs) == ({"churn": None}, None, None, timedelta(days=1))
    assert parse(SMALL + "keep: {events: 91d, windows: 112d}\n", PATH).keep.windows == timedelta(days=112)


def test_the_example_is_read_as_it_stands() -> None:
    config = parse(EXAMPLE, PATH)
    model = config.models["seattle-weather"]
    assert model.task is Task.MULTICLASS
    assert model.columns.score == PLAIN["models"]["seattle-weather"]["columns"]["score"]
    assert model.columns.features == ("precipitation", "temp_max", "temp_min", "wind")
    assert model.window == WindowSpec("1d", "America/Los_Angeles")
    assert model.season == "yearly"
    assert model.rules[0] == Rule("accuracy-low", "accuracy", below=0.75, for_windows=2, severity=Severity.PAGE)
    [hook] = config.notify
    assert (hook.name, hook.kind, hook.severity) == ("webhook-1", "webhook", (Severity.PAGE,))
    assert hook.section.webhook == "http://127.0.0.1:9999/hook"
    VALIDATOR.validate(PLAIN)


def test_the_demo_is_an_ordinary_configuration() -> None:
    path = ROOT / "src" / "driftline" / "demo" / "driftline.yaml"
    assert load(path).models
    VALIDATOR.validate(yaml.safe_load(path.read_text()))


def test_absolute_paths_stay() -> None:
    config = parse(SMALL.replace("reference.p", "/r.p") + "storage: /data\ndatabase: sqlite:////var/state.db\n", PATH)
    assert config.models["churn"].reference == Path("/r.parquet")
    assert (config.storage, config.database) == (Path("/data"), "sqlite:////var/state.db")


@pytest.mark.parametrize(
    ("written", "is_class"),
    [("yes", "yes"), ("no", "no"), ("true", "1"), ("1", "1"), ("1.0", "1"), ('"true"', "true"), ("007", "007")],
)
def test_a_class_is_the_word_that_stands_there(written: str, is_class: str) -> None:
    text = SMALL + f"    positive: {written}\n    columns: {{score: {{{written.strip(chr(34))}: p}}}}\n"
    if '"' in written:
        text = text.replace("{true: p}", '{"true": p}')
    model = parse(text, PATH).models["churn"]
    assert model.positive == is_class
    assert model.columns.score == {is_class: "p"}


@pytest.mark.parametrize("written", ["0.001", "1e-3", "1E-3", "+.001", ".1e-2"])
def test_a_number_is_a_number_in_every_spelling(written: str) -> None:
    text = SMALL + f"    alerts: {{rules: [{{name: a, measure: mae, above: {written}}}]}}\n"
    assert parse(text, PATH).models["churn"].rules[0].above == 0.001


@pytest.mark.parametrize("name", ["2.10", "true", "2012", "2012-01-01", "007"])
def test_the_name_of_a_model_is_the_text_that_stands_there(name: str) -> None:
    assert list(parse(SMALL.replace("churn", name), PATH).models) == [name]


def test_another_folder_takes_events_and_state() -> None:
    config = parse(SMALL + "storage: a\ndatabase: sqlite:///b.db\n", PATH).at(Path("c"))
    assert (config.storage, config.database) == (Path("c"), "sqlite:///c/state.db")
    with pytest.raises(UsageError, match=r"'c\?d' has a `\?`"):
        config.at(Path("c?d"))


def test_anchors_and_a_byte_order_mark_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "driftline.yaml"
    path.write_text("models:\n  a: &a\n    reference: {path: r}\n  b: *a\n", encoding="utf-8-sig")
    assert set(load(path).models) == {"a", "b"}


# ---- anything ----------------------------------------------------------------------------------------------

# Of every part of the table, and some that mean something only to YAML.
KEYS = [*dict.fromkeys(name for part in SCHEMA["$defs"].values() for name in part.get("properties", ())), "yes", "1"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["binary", "regression", "1d", "25000mo", "UTC", "accuracy", "page", "yearly", "http://[", "s3://"]
    ),
    st.sampled_from([10**400, 2**63, -1, 0.5, 1.0, 1e308]),
)
TREES = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner),
    max_leaves=8,
)


def outcome(text: str) -> Config | None:
    """A configuration, or None for a mistake in one line; any other exception fails the test."""
    try:
        return parse(text, PATH)
    except ConfigError as error:
        said = str(error)
    assert said.startswith(str(PATH))
    assert len(said.splitlines()) == 1
    return None


def places(plain: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a plain structure."""
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    return [path for key, value in items for path in ((*at, key), *places(value, (*at, key)))]


@given(st.text())
@example("a\0b")
@example("[" * 500_000)
@example("{a: " * 200_000)
@example("- " * 500_000)
@example("\ud800")
@example("? [a]\n: 1")
@example("&a [*a]")
@example("!!int x")
@example("!!set {a}")
@example("%YAML 9.9\n---\na: 1")
@example("%YAML 1." + "9" * 5000 + "\n---\na: 1")
def test_any_text_is_a_configuration_or_a_mistake(text: str) -> None:
    outcome(text)


@given(st.text(alphabet="models:churn{}[]-&*!|>'\"#%@?,\t\n \\0"))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_yaml_like_text_is_a_configuration_or_a_mistake(text: str) -> None:
    outcome(text)


@given(TREES)
def test_any_structure_is_a_configuration_or_a_mistake(tree: Any) -> None:
    outcome(json.dumps(tree, ensure_ascii=False))


@given(st.data())
@settings(max_examples=300)
def test_the_schema_takes_whatever_driftline_takes(data: st.DataObject) -> None:
    """The example with one or two values changed, removed or renamed."""
    plain = copy.deepcopy(PLAIN)
    for _ in range(data.draw(st.integers(1, 2))):
        if not (paths := places(plain)):
            break
        *path, last = data.draw(st.sampled_from(paths))
        inner = plain
        for step in path:
            inner = inner[step]
        change = data.draw(st.sampled_from(["replace", "remove", "rename"]))
        if change == "replace" or not isinstance(inner, dict):
            inner[last] = data.draw(TREES)
        else:
            value = inner.pop(last)
            if change == "rename":
                inner[data.draw(st.sampled_from(KEYS))] = value
    if outcome(json.dumps(plain, ensure_ascii=False)) is not None:
        VALIDATOR.validate(json.loads(json.dumps(plain), parse_constant=str))  # to YAML, Infinity is a text


# ---- the page and the schema -------------------------------------------------------------------------------


def schema_keys(schema: dict[str, Any], at: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every key of the schema, dotted, with its own schema."""
    if "$ref" in schema:
        schema = schema | SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    found = []
    for name, inner in schema.get("properties", {}).items():
        key = f"{at}.{name}".removeprefix(".")
        found += [(key, inner), *schema_keys(inner, key)]
    if isinstance(schema.get("additionalProperties"), dict):
        found += schema_keys(schema["additionalProperties"], at + ".*")
    if "items" in schema:
        found += schema_keys(schema["items"], at + "[]")
    for one in schema.get("anyOf", ()):
        found += schema_keys(one, at)
    return found


def required_keys(schema: dict[str, Any], at: str = "") -> set[str]:
    """Every key that has to be there, if the section around it is."""
    if "$ref" in schema:
        schema = schema | SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    found = {f"{at}.{name}".removeprefix(".") for name in schema.get("required", ())}
    for name, inner in schema.get("properties", {}).items():
        found |= required_keys(inner, f"{at}.{name}".removeprefix("."))
    if isinstance(schema.get("additionalProperties"), dict):
        found |= required_keys(schema["additionalProperties"], at + ".*")
    for one in schema.get("anyOf", ()):
        found |= required_keys(one, at)
    return found | (required_keys(schema["items"], at + "[]") if "items" in schema else set())


REQUIRED = required_keys(SCHEMA)


def rows() -> dict[str, tuple[str, str]]:
    """The page's tables: the whole key to type and default as they are shown; a heading may name the section."""
    found, section = {}, ""
    for line in PAGE.splitlines():
        if line.startswith("### "):
            section = "".join(f"{name}." for name in re.findall(r"`(.+)`", line))
        elif row := re.match(r"\| `(\S+)` \| ([\w ,]+) \| (.*?) ?\| .*\|$", line):
            assert f"{section}{row[1]}" not in found
            found[section + row[1]] = (row[2], row[3])
    return found


TYPES = {
    "string": "text",
    "number": "number",
    "integer": "whole number",
    "boolean": "truth value",
    "array": "list",
    "object": "mapping",
}


def type_words(schema: dict[str, Any]) -> str:
    """A schema's type as the page has it."""
    if "$ref" in schema:
        return type_words(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    if "enum" in schema:
        return "one of"
    if "anyOf" not in schema:
        return TYPES[schema["type"]]
    *some, last = dict.fromkeys(type_words(one).removeprefix("whole ") for one in schema["anyOf"])
    return f"{', '.join(some)} or {last}" if some else last


def test_the_page_has_every_key_of_the_schema_and_no_other() -> None:
    assert set(rows()) == {key for key, _ in schema_keys(SCHEMA)}


def test_the_page_has_every_type_and_default_of_the_schema() -> None:
    severities = parse(SMALL + "notify: [{webhook: 'http://a'}]", PATH).notify[0].severity
    for key, inner in schema_keys(SCHEMA):
        default = inner.get("default")
        shown = "" if default is None or isinstance(default, dict) or default == [] else f"`{default}`"
        if key in REQUIRED:
            shown = "needed"
        if key == "notify[].severity":
            shown = ", ".join(f"`{one}`" for one in severities)
        assert rows()[key] == (type_words(inner), shown), key


def test_the_page_has_every_measure() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(SMALL + "    alerts: {rules: [{name: a, measure: zzz, below: 1}]}\n", PATH)
    known = re.findall(r"known: (.+?)\.(?: |$)", str(caught.value))[0].split(", ")
    for name in known:
        assert re.search(rf"`([a-z]+\.)?{name}`", PAGE), name


def test_a_calendar_has_a_date_a_line_and_whatever_else_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "holidays.csv"
    path.write_text("\ufeffday,name\r\n2024-12-25,Christmas\r\n\r\n2025-01-01\r\n", encoding="utf-8")
    assert sorted(read_calendar(path)) == [date(2024, 12, 25), date(2025, 1, 1)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"day\n2024-12-25\n25.12.2025\n", "holidays.csv:3: came '25.12.2025'; allowed are dates such as 2026-12-25"),
        (b"day\n", "holidays.csv has no date; write one a line"),
        (b"\xff", "holidays.csv is not UTF-8"),
        (b"2024-12-25\n" * 100_000, "holidays.csv has more than 1048576 bytes"),
    ],
)
def test_what_is_no_calendar_is_refused(tmp_path: Path, text: bytes, reason: str) -> None:
    path = tmp_path / "holidays.csv"
    path.write_bytes(text)
    with pytest.raises(UsageError, match=re.escape(reason)):
        read_calendar(path)


def test_the_command_prints_the_schema() -> None:
    done = subprocess.run([sys.executable, "-m", "driftline", "schema"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == SCHEMA
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for _, inner in schema_keys(SCHEMA):
        if "default" in inner:
            VALIDATOR.evolve(schema={**inner, "$defs": SCHEMA["$defs"]}).validate(inner["default"])


def test_the_table_of_keys_is_made_once_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes several times as long as a file to be checked by it."""
    path = tmp_path / "driftline.yaml"
    path.write_text("models: {churn: {columns: {prediction: said}, reference: {path: reference.parquet}}}")
    load(path)
    monkeypatch.setattr("driftline.config.strict_yaml.kinds.type_info", None)
    assert list(load(path).models) == ["churn"]
