"""Run one command as a child and say what it cost. A process of its own, because a child starts with its parent's peak.

On Linux the peak memory of a process includes that of the process it was forked from, so the parent has to be small:
this file imports the standard library only, and is run with ``-I -S``.

    python -I -S launcher.py SECONDS BYTES OUTPUT ERRORS NAME=VALUE… -- COMMAND…

prints ``{"wall_seconds", "cpu_seconds", "peak_bytes", "exit_code", "ended"}``, where ``ended`` is "itself", "time" or
"memory".
"""

import json
import os
import signal
import sys
import threading
import time

_LOOK_SECONDS = 0.25


def resident_bytes(process: int) -> int:
    """The memory that a process holds now; 0 where the system does not tell."""
    try:
        with open(f"/proc/{process}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def run(
    command: list[str], environment: dict[str, str], limits: tuple[float, int], files: tuple[str, str]
) -> dict[str, object]:
    """Run a command with its output in ``files``; end it and its children beyond ``limits``, in seconds and bytes."""
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        *((os.POSIX_SPAWN_OPEN, number, path, writing, 0o600) for number, path in enumerate(files, start=1)),
    ]
    started = time.perf_counter()
    child = os.posix_spawnp(command[0], command, environment, file_actions=streams, setpgroup=0)
    ended, over = "itself", threading.Event()

    def guard() -> None:
        nonlocal ended
        while not over.wait(_LOOK_SECONDS):
            late = time.perf_counter() - started > limits[0]
            if late or resident_bytes(child) > limits[1]:
                ended = "time" if late else "memory"
                os.killpg(child, signal.SIGKILL)
                return

    guarding = threading.Thread(target=guard, daemon=True)
    guarding.start()
    try:
        # Not reaped yet: its number is nobody else's while the guard may still use it.
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    except BaseException:
        os.killpg(child, signal.SIGKILL)
        raise
    wall_seconds = time.perf_counter() - started
    over.set()
    guarding.join()
    _, status, usage = os.wait4(child, 0)
    return {
        "wall_seconds": wall_seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "exit_code": os.waitstatus_to_exitcode(status),
        "ended": ended,
    }


def main() -> None:
    """Read the arguments, run the command, print one line of JSON."""
    seconds, size, output, errors, *rest = sys.argv[1:]
    cut = rest.index("--")
    environment = dict(os.environ)  # noqa: TID251 – the child is to have what its parent has
    environment.update(one.partition("=")[::2] for one in rest[:cut])
    sys.stdout.write(
        json.dumps(run(rest[cut + 1 :], environment, (float(seconds), int(size)), (output, errors))) + "\n"
    )


if __name__ == "__main__":
    main()
