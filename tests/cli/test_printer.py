"""Printing never blocks: what nobody reads is dropped, counted and said, and a log line is one line."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest

from driftline.cli.printer import Printer, PrinterHandler
from driftline.logs import said_as_json, said_by_library


class Slow:
    """A reader that reads when it is told to."""

    def __init__(self) -> None:
        self.read, self.reads = [], threading.Event()

    def write(self, text: str) -> None:
        self.reads.wait(20)
        self.read.append(text)


def test_messages_come_in_order_and_whole() -> None:
    slow = Slow()
    slow.reads.set()
    printer = Printer(slow.write)
    for number in range(100):
        printer.say(f"{number}\n  more")
    assert printer.wait(20)
    assert slow.read == [f"{number}\n  more\n" for number in range(100)]


def test_nobody_waits_for_a_reader_and_what_was_left_out_is_said() -> None:
    slow = Slow()
    printer = Printer(slow.write, most=10)
    for number in range(1_000):
        printer.say(str(number))
    assert not printer.wait(0)
    slow.reads.set()
    assert printer.wait(20)
    said = "".join(slow.read).split("\n")
    left_out = [int(line.split()[0].strip("(")) for line in said if "left out" in line]
    numbers = [int(line) for line in said if line.isdecimal()]
    assert sum(left_out) + len(numbers) == 1_000
    assert numbers == sorted(numbers)
    assert numbers[-10:] == list(range(990, 1_000))  # the newest stay


def test_a_reader_that_has_gone_is_forgotten() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        printer = Printer.on(stream)
        for number in range(10_000):
            printer.say(str(number))
        assert printer.wait(20)


def test_a_stream_without_a_file_and_one_with_few_letters_are_written_to() -> None:
    text = io.StringIO()
    printer = Printer.on(text)
    printer.say("⚠️ snow")
    assert printer.wait(20)
    assert text.getvalue() == "⚠️ snow\n"
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="ascii") as stream, os.fdopen(reader, "rb") as read:
        printer = Printer.on(stream)
        printer.say("naïve")
        assert read.readline() == b"na?ve\n"


def test_a_full_pipe_does_not_keep_a_program_from_its_end() -> None:
    program = """
        import sys
        from driftline.cli.printer import Printer
        out = Printer.on(sys.stdout)
        for number in range(5_000):
            out.say("x" * 100)
        out.wait(0.1)
        print("done", file=sys.stderr)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.wait(30) == 0  # its pipe was never read
        assert process.stderr is not None
        assert process.stderr.read() == "done\n"


@pytest.mark.parametrize("value", ["bad\nWARNING root: all is well", "\x1b[2Jgone", "\u202eevil", "\ud800"])
def test_a_record_is_one_line_and_its_traceback_stands_indented(value: str) -> None:
    text = io.StringIO()
    printer = Printer.on(text)
    logger = logging.Logger("driftline")
    logger.addHandler(PrinterHandler(printer))
    try:
        raise ValueError(value)
    except ValueError:
        logger.exception("%s: trying again", value)
    assert printer.wait(20)
    first, *more = text.getvalue().removesuffix("\n").split("\n")
    assert first.startswith("ERROR driftline: ")
    assert more
    assert all(line.startswith("    ") for line in more)
    assert text.getvalue().replace("\n", "").isprintable()


def test_a_thousand_threads_say_all_they_have_to(capsys: Any) -> None:
    slow = Slow()
    slow.reads.set()
    printer = Printer(slow.write, most=10**6)
    threads = [threading.Thread(target=lambda: [printer.say("x") for _ in range(50)]) for _ in range(40)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert printer.wait(20)
    assert len(slow.read) == 2_000


def test_how_many_were_left_out_is_a_line_as_the_others_are() -> None:
    slow = Slow()
    printer = Printer(slow.write, most=5, dress=said_by_library)
    for number in range(20):
        printer.say(said_as_json(f"line {number}"))
    slow.reads.set()
    assert printer.wait(20)
    told = [json.loads(line)["message"] for text in slow.read for line in text.splitlines()]
    assert told[-5:] == [f"line {number}" for number in range(15, 20)]
    [left_out] = [one for one in told if "were left out: nobody read them" in one]
    assert int(left_out.removeprefix("(").split()[0]) + len(told) - 1 == 20


def test_a_pipe_that_does_not_block_loses_nothing() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb") as read:
        printer = Printer.on(stream)
        for number in range(900):
            printer.say(f"{number:0300}")
        got = [int(read.readline()) for _ in range(900)]
        assert printer.wait(20)
    assert got == list(range(900))


def in_a_process(body: str) -> subprocess.Popen[bytes]:
    """Run a body under `printed_errors` in a process whose stderr is a pipe that nobody reads yet."""
    code = "import os, sys\nfrom driftline.cli.printer import printed_errors\nwith printed_errors() as log:\n"
    return subprocess.Popen(
        [sys.executable, "-c", code + textwrap.indent(textwrap.dedent(body), "    ")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_what_a_library_writes_to_stderr_waits_for_no_reader() -> None:
    """A panic of a library goes to descriptor 2 past Python; so much of it that no pipe holds it ends nothing."""
    process = in_a_process(
        """
        import contextlib
        for _ in range(5_000):
            with contextlib.suppress(BlockingIOError):  # a library passes that over
                os.write(2, b"thread panicked\\n" * 20)
        print("went on", flush=True)
        """
    )
    try:
        assert process.stdout is not None
        assert process.stdout.read() == b"went on\n"
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def test_what_a_library_writes_is_shown_and_not_obeyed_and_later_errors_come_after_it() -> None:
    process = in_a_process(
        """
        os.write(2, b"column \\x1b[2J\\xff is odd\\nno line end")
        log.say("a line of ours")
        """
    )
    _, said = process.communicate(timeout=20)
    assert set(said.decode().splitlines()) == {"column \\x1b[2J\ufffd is odd", "no line end", "a line of ours"}
    process = in_a_process("raise SystemExit('at the end')")
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (1, b"at the end\n")


def test_a_process_that_a_library_ends_says_where_it_was() -> None:
    process = in_a_process("os.abort()")
    _, said = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGABRT
    assert b"Fatal Python error: Aborted" in said


def test_a_process_ends_though_nobody_reads_where_it_was() -> None:
    process = in_a_process(
        """
        import threading, time
        for _ in range(200):
            log.say("x" * 1_000)
        time.sleep(0.5)
        os.abort()
        """
    )
    try:
        assert process.wait(20) == -signal.SIGABRT
    finally:
        process.kill()
        process.communicate()
