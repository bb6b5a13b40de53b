"""What a call of the SDK's `log` takes: the command of docs/sdk.md, as it stands there.

The page's command says the best of five rounds; here all five are asked for (``-v``), and their median is taken.
"""

import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "sdk.md"
MICROSECONDS = {"nsec": 1e-3, "usec": 1.0, "msec": 1e3, "sec": 1e6}


def command(page: str) -> str:
    """The block of a page that calls timeit; it must be there."""
    (found,) = re.findall(r"^```sh\n(python -m timeit .*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def call_microseconds(printed: str, calls: int) -> float:
    """The median of timeit's rounds, a call.

    >>> call_microseconds("raw times: 100 msec, 120 msec, 90 msec\\n20000 loops, best of 3: 4.5 usec per loop", 20000)
    5.0
    """
    (raw,) = re.findall(r"^raw times: (.*)$", printed, flags=re.MULTILINE)
    rounds = (one.split() for one in raw.split(", "))
    return statistics.median(float(number) * MICROSECONDS[unit] for number, unit in rounds) / calls


def main() -> None:
    """Run the page's command with this interpreter."""
    shown = command(PAGE.read_text(encoding="utf-8"))
    calls = int(re.findall(r"-n (\d+)", shown)[0])
    text = shown.replace("python -m timeit", f"'{sys.executable}' -m timeit -v", 1)
    done = subprocess.run(["bash", "-c", text], stdout=subprocess.PIPE, text=True, check=True)
    sys.stdout.write(json.dumps({"call_microseconds": call_microseconds(done.stdout, calls)}) + "\n")


if __name__ == "__main__":
    main()
