"""A text file is read as what it says, however it is encoded and laid out; what cannot be read names its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cramjam
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from driftline.errors import DataError
from driftline.sources import files, separated, texts
from driftline.sources.files import open_rows, read_rows

ROWS = [(i, f"{i / 8}", ("käse", "brot", "a, b", 'say "x"', "two\nlines")[i % 5]) for i in range(60)]
HERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def written(rows: list[tuple[Any, ...]] = ROWS, separator: str = ",", end: str = "\n") -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator=end).writerows([("n", "x", "word"), *rows])
    return file.getvalue()


EXPECTED = pl.DataFrame(ROWS, schema=["n", "x", "word"], orient="row").with_columns(pl.col("x").cast(pl.Float64))

ENCODED: dict[str, Callable[[str], bytes]] = {
    "utf-8": str.encode,
    "utf-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16 of the other end": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "utf-16 without a mark": lambda text: text.encode("utf-16-le"),
    "utf-16 of the other end without a mark": lambda text: text.encode("utf-16-be"),
    "utf-32": lambda text: text.encode("utf-32"),
    "utf-32 without a mark": lambda text: text.encode("utf-32-be"),
    "windows-1252": lambda text: text.encode("cp1252"),
    "utf-8, packed": lambda text: gzip.compress(text.encode()),
    "utf-16, packed": lambda text: gzip.compress(text.encode("utf-16")),
    "utf-16, packed otherwise": lambda text: bytes(cramjam.zstd.compress(text.encode("utf-16"))),
}
LAID_OUT: dict[str, Callable[[], str]] = {
    "as it should be": written,
    "lines of Windows": lambda: written(end="\r\n"),
    "lines of an old Macintosh": lambda: written(end="\r\n").replace("\r\n", "\r"),
    "comments above": lambda: "# made by x, version 2\n# at noon\n" + written(),
    "comments and blank lines above": lambda: "\n# made by x\n\n" + written(),
    "blank lines above": lambda: "\n\n" + written(),
    "semicolons": lambda: written(separator=";"),
    "tabs": lambda: written(separator="\t"),
    "Excel's own first line": lambda: "sep=;\r\n" + written(separator=";", end="\r\n"),
    "blank lines between": lambda: written().replace("\n7,", "\n\n7,") + "\n\n",
    "no end of the last line": lambda: written()[:-1],
    "one separator more in each row": lambda: written([(*row, "") for row in ROWS]),
}


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("layout", LAID_OUT)
def test_a_table_is_the_same_in_every_encoding_and_layout(tmp_path: Path, encoding: str, layout: str) -> None:
    (tmp_path / "x.csv").write_bytes(ENCODED[encoding](LAID_OUT[layout]()))
    rows = open_rows(tmp_path / "x.csv")
    assert_frame_equal(pl.concat(rows.batches(["n", "x", "word"])), EXPECTED)
    told = " ".join(rows.notes)
    assert ("UTF-16" in told) == ("utf-16" in encoding) and ("UTF-32" in told) == ("utf-32" in encoding)
    assert ("read as Windows-1252: the byte 0xE4 in line" in told) == (encoding == "windows-1252")
    assert ("semicolons" in told) == (";" in LAID_OUT[layout]())
    as_written = pl.concat(rows.retyped(["n", "x"]).batches(["n", "x"]))
    assert as_written.rows() == [(str(n), x) for n, x, _ in ROWS]


@HERE
@example(rows=[["", "\r"], ["\n", "\r\n"]], end="\n")
@given(
    rows=st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=2, max_size=2)),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_csv_module_writes_is_read_as_it_reads_it(tmp_path: Path, rows: list[list[str]], end: str) -> None:
    file = io.StringIO()
    csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    (tmp_path / "x.csv").write_bytes(file.getvalue().encode())
    read = pl.concat([pl.DataFrame(schema={"a": pl.String, "b": pl.String}), *open_texts(tmp_path / "x.csv")])
    assert read.rows() == [tuple(field or None for field in row) for row in rows]
    spool = texts.Spool()
    mended = separated.mended(separated.part_of(tmp_path / "x.csv", "x", ",", spool), spool)
    again = separated.scan_parts([mended], [""], None, ["a", "b"]).collect()
    assert again.rows() == read.rows()


def open_texts(path: Path) -> list[pl.DataFrame]:
    return list(open_rows(path, [""]).retyped(["a", "b"]).batches(["a", "b"]))


@HERE
@given(st.lists(st.sampled_from(["1,2", "1,", ",2", '"a\nb",2', "3", "", "1,2,", " "]), min_size=1, max_size=12))
def test_lines_with_too_few_fields_end_in_missing_ones_and_are_counted(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "x.csv").write_text("\n".join(["a,b", *lines]) + "\n")
    rows = open_rows(tmp_path / "x.csv", [""])
    wanted = {"1,2": ("1", "2"), "1,": ("1", None), ",2": (None, "2"), '"a\nb",2': ("a\nb", "2"), "3": ("3", None)}
    wanted["1,2,"] = ("1", "2")
    expected = [wanted[line] for line in lines if line in wanted]
    assert pl.concat(
        [pl.DataFrame(schema={"a": pl.String, "b": pl.String}), *open_texts(tmp_path / "x.csv")]
    ).rows() == (expected)
    short = [place for place, line in enumerate(lines) if line == "3"]
    if short:
        first = 2 + sum(1 + line.count("\n") for line in lines[: short[0]])
        assert f"line {first};" in rows.notes[0].replace(", line", " is line") and "fewer fields" in rows.notes[0]
    else:
        assert not rows.notes


HEADERS = {
    "no comment, the header": (b"#id,name\n1,x\n", ["#id", "name"]),
    "a header as NumPy writes it": (b"# a,b\n1,2\n", ["# a", "b"]),
    "a comment as wide as the table": (b"#by x,y\na,b\n1,2\n", ["a", "b"]),
    "a row that begins with the sign": (b"a,b\n#1,2\n", ["a", "b"]),
    "an index of pandas": (b",a\n0,1\n", ["column 1", "a"]),
    "columns without names": (b"a,,\n1,2,3\n", ["a", "column 2", "column 3"]),
    "a comma in a name": (b'"wind; m/s, mean";b\n1;2\n2;3\n', ["wind; m/s, mean", "b"]),
    "decimal commas": (b"price;n\n99,73;1\n98,2;2\n", ["price", "n"]),
    "a name of two lines": (b'"a\nb",c\n1,2\n', ["a\nb", "c"]),
    "nothing but the header": (b"a,b\n", ["a", "b"]),
}


@pytest.mark.parametrize("case", HEADERS)
def test_where_the_header_is_and_what_it_names(tmp_path: Path, case: str) -> None:
    data, names = HEADERS[case]
    (tmp_path / "x.csv").write_bytes(data)
    frame = read_rows(tmp_path / "x.csv")
    assert frame.columns == names
    assert frame.height == data.count(b"\n") - (1 + data.startswith(b"#by") + case.endswith("two lines"))
    assert open_rows(tmp_path / "x.csv").retyped(names).schema == dict.fromkeys(names, pl.String())


BROKEN = {
    "a field too many": (b"a,b\n" + b"1,2\n" * 300 + b"1,2.5,x\n", "line 302 has 3 fields, the header has 2;"),
    "several such": (b"a,b\n1,2,3\n1,2\n1,2,3,4\n", r"line 2 has 3 fields, the header has 2 \(so have 1 more\)"),
    "after a comment": (b"# x\na,b\n1,2,3\n", "line 3 has 3 fields"),
    "after a row of two lines": (b'a,b\n"x\ny",2\n1,2,3\n', "line 4 has 3 fields"),
    "a quote that stays open": (b'a,b\n1,"x\n3,x\n', "begins in line 2 has a quote that is not closed"),
    "a quote closed much later": (b'a,b\n1,"x\n3,y\n5,z",7,8\n', "lines 2 to 4 are one row with 4 fields"),
    "a field without an end": (b'a,b\n1,"' + b"x\n" * 200_000, r"line 2: field larger .* is a quote not closed\?"),
    "zeros": (b"a,b\n1,2\n3,\0\n", "line 3 has a byte of zero"),
    "bytes of another encoding": ("a,b\n1,日本語\n".encode("gbk"), "0xC8 in line 2, column 3 is not UTF-8"),
    "one byte that is not UTF-8": ("a,b\n1,ä\n1,".encode() + b"\xe9\n", "0xE9 in line 3, column 3 is not UTF-8"),
    "half a character": (b"a,b\n1,x\n".decode().encode("utf-16") + b"\xd8", "begins as UTF-16 and does not go on so"),
    "a name that comes twice": (b"a,b,a\n1,2,3\n", "'a' comes more than once"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_mended_is_named_by_its_line(tmp_path: Path, case: str) -> None:
    data, words = BROKEN[case]
    (tmp_path / "x.csv").write_bytes(data)
    with pytest.raises(DataError, match=words) as caught:
        read_rows(tmp_path / "x.csv")
    said = str(caught.value)
    assert said.startswith((f"{tmp_path}/x.csv: ", f"{tmp_path}/x.csv begins"))
    assert "\n" not in said and not any(word in said for word in ("truncate_ragged", "Consider", "Schema", "Polars"))


def test_quotes_amid_a_field_are_part_of_it(tmp_path: Path) -> None:
    """A pipe of 5" is no fault; where Polars stumbles over it, what was read before is not read again."""
    lines = [f"{i},pipe" for i in range(120_000)]
    lines[110_000] = '110000,5" pipe'
    (tmp_path / "x.csv").write_text("n,what\n" + "\n".join(lines) + "\n")
    read = pl.concat(open_rows(tmp_path / "x.csv").batches(["n", "what"]))
    assert read["n"].to_list() == list(range(120_000))
    assert read["what"][110_000] == '5" pipe' and read["what"].n_unique() == 2


def test_files_of_a_pattern_may_be_laid_out_each_in_its_own_way(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_bytes("a;b\n3;4,5\n".encode("utf-16"))
    (tmp_path / "3.csv").write_text("# later\nb,a,c\n6,5,x\n")
    frame = read_rows(tmp_path / "*.csv")
    assert frame.columns == ["a", "b", "c"]
    assert frame["a"].to_list() == [1, 3, 5] and frame["c"].to_list() == [None, None, "x"]


def test_what_is_written_anew_is_written_in_blocks_and_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The most that is held at a time does not depend on the size of the file."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(texts, "_BLOCK_BYTES", 4096)
    (tmp_path / "x.csv").write_bytes(("a,b\n" + "1,ä\n" * 50_000).encode("utf-16"))
    decode, largest = texts.codecs.getincrementaldecoder("utf-16"), 0

    class Decoder:
        def __init__(self) -> None:
            self._decoder = decode()

        def decode(self, block: bytes, final: bool = False) -> str:
            nonlocal largest
            largest = max(largest, len(block))
            return self._decoder.decode(block, final)

    monkeypatch.setattr(texts.codecs, "getincrementaldecoder", lambda name: Decoder)
    rows = open_rows(tmp_path / "x.csv")
    assert largest == 4096
    assert sum(batch.height for batch in rows.batches(["a"])) == 50_000
    assert len(list(tmp_path.glob("driftline-*"))) == 1
    del rows
    assert not list(tmp_path.glob("driftline-*"))


def test_a_file_in_order_is_not_copied_and_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts.Spool, "new", lambda *_: pytest.fail("a copy was made"))
    (tmp_path / "x.csv").write_text("# x\n" + written())
    (tmp_path / "x.ndjson").write_text('{"a": 1}\n')
    assert read_rows(tmp_path / "x.csv").height == len(ROWS) and read_rows(tmp_path / "x.ndjson").height == 1


# ---- newline-delimited JSON --------------------------------------------------------------------------------


VALUES = st.none() | st.integers(-(10**12), 10**12) | st.floats(width=32) | st.just(math.inf)


@HERE
@given(
    st.lists(
        st.fixed_dictionaries({"a": VALUES, "b": st.text(), "c": st.lists(st.floats(0, 1), max_size=3)}), min_size=1
    )
)
def test_what_the_json_module_writes_is_read(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """NaN is missing, infinities are numbers; the one reading and the other are the same."""
    (tmp_path / "x.ndjson").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    frame = read_rows(tmp_path / "x.ndjson")
    expected = [None if row["a"] is None or row["a"] != row["a"] else float(row["a"]) for row in rows]
    read = frame["a"].cast(pl.Float64).to_list()
    assert [None if value is None else value for value in read] == expected
    assert frame["b"].to_list() == [row["b"] for row in rows]
    assert frame["c"].to_list() == [row["c"] for row in rows]


ODD_JSON: dict[str, tuple[bytes, dict[str, list[Any]]]] = {
    "a mark": (b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n', {"a": [1, 2]}),
    "utf-16": ('{"a": "ä"}\r\n{"a": "b"}\r\n'.encode("utf-16"), {"a": ["ä", "b"]}),
    "packed": (gzip.compress(b'{"a": NaN}\n{"a": 1.5}\n'), {"a": [None, 1.5]}),
    "windows-1252": ('{"a": "ä"}\n'.encode("cp1252"), {"a": ["ä"]}),
    "blank lines": (b'{"a": 1}\n\n  \n{"a": NaN}\n\n', {"a": [1, None]}),
    "commas between": (b'{"a": 1},\n{"a": 2},\n', {"a": [1, 2]}),
    "a number too large": (b'{"a": 1.5}\n{"a": 1e999}\n', {"a": [1.5, math.inf]}),
    "numbers and texts": (b'{"a": 1}\n{"a": "x"}\n', {"a": ["1", "x"]}),
    "truth and numbers": (b'{"a": true, "b": 1}\n{"a": 1, "b": 2}\n', {"a": ["true", "1"], "b": [1, 2]}),
    "objects and numbers": (b'{"a": {"c": 1}, "b": 1}\n{"a": 2, "b": 2}\n', {"b": [1, 2]}),
    "objects of two kinds": (b'{"a": [{"c": 1}], "b": 1}\n{"a": [1], "b": 2}\n', {"b": [1, 2]}),
    "infinities and texts": (b'{"a": Infinity}\n{"a": "x"}\n', {"a": ["Infinity", "x"]}),
    "infinities in lists": (b'{"a": [1.5, -Infinity]}\n', {"a": [[1.5, None]]}),
    "the word in a text": (b'{"a": "NaN"}\n{"a": "b"}\n', {"a": ["NaN", "b"]}),
    "no end of the last line": (b'{"a": 1}\n{"a": NaN}', {"a": [1, None]}),
}


@pytest.mark.parametrize("case", ODD_JSON)
def test_lines_of_json_as_people_write_them(tmp_path: Path, case: str) -> None:
    data, expected = ODD_JSON[case]
    (tmp_path / "x.jsonl").write_bytes(data)
    frame = read_rows(tmp_path / "x.jsonl")
    assert {name: frame[name].to_list() for name in expected} == expected


def test_a_field_changes_its_kind_late_in_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_SMALL_BYTES", 1 << 10)
    for late, read in (("true", "true"), ('"x"', "x"), ("NaN", None), ("2.5", "2.5"), ('{"b": 1}', '{"b": 1}')):
        lines = [f'{{"a": {i}}}' for i in range(30_000)]
        lines[25_000] = f'{{"a": {late}}}'
        (tmp_path / "x.ndjson").write_text("\n".join(lines) + "\n")
        rows = open_rows(tmp_path / "x.ndjson")
        rows.sample()
        values = pl.concat([batch.cast(pl.String) for batch in rows.batches(["a"])])["a"]
        assert len(values) == 30_000 and values[25_000] == read and float(values[29_999]) == 29_999


def test_files_of_a_pattern_may_have_fields_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "1.ndjson").write_text('{"a": 1}\n')
    (tmp_path / "2.ndjson").write_text('{"a": NaN, "b": Infinity}\n')
    (tmp_path / "3.ndjson").write_text('{"b": 1.5, "a": 2.5}\n')
    frame = read_rows(tmp_path / "*.ndjson")
    assert frame["a"].to_list() == [1.0, None, 2.5] and frame["b"].to_list() == [None, math.inf, 1.5]


BROKEN_JSON = {
    "a line cut off": (b'{"a": 1}\n{"a": 2', "line 2 is cut off"),
    "no JSON": (b'{"a": 1}\n\n{"a": }\n{"a": 3}\n', "line 3 is no JSON .* in column 7"),
    "two objects in a line": (b'{"a": 1}{"a": 2}\n', "line 1 is no JSON"),
    "an array": (b'[{"a": 1},\n{"a": 2}]\n', "line 1 begins an array; write one object a line"),
    "numbers": (b'{"a": 1}\n2\n', "line 2 is a int"),
    "too deep": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "line 1 is nested too deeply"),
    "zeros": (b'{"a": 1}\n\0\0\0\n', "line 2 has a byte of zero"),
}


@pytest.mark.parametrize("case", BROKEN_JSON)
def test_a_line_that_is_no_object_is_named(tmp_path: Path, case: str) -> None:
    data, words = BROKEN_JSON[case]
    (tmp_path / "x.ndjson").write_bytes(data)
    with pytest.raises(DataError, match=words) as caught:
        read_rows(tmp_path / "x.ndjson")
    assert str(caught.value).startswith(f"{tmp_path}/x.ndjson: ") and "\n" not in str(caught.value)
