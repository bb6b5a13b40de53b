"""What a CI job does for Driftline besides training and `driftline gate`. It needs nothing but Python.

``request`` writes the request that the job is for into a file, ``summary`` shows the contest, and ``report`` reports
the job's result to Driftline, with the evidence for the contest that Driftline holds itself. Secrets come in on
standard input, everything else as arguments. Written by `driftline export ci`.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import html
import json
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
FIELDS = ("request_id", "model", "trigger", "reason", "asked_at", "callback")
TRIES, PAUSE_SECONDS, TIMEOUT_SECONDS = 4, 5.0, 30.0
LONGEST_REASON = 2_000
BUSY = (408, 425, 429)
OTHER_MODEL = 3
TRIAL = "trial-"
"""The prefix of ids that stand for no request, because somebody started the job by hand."""


def read(path: Path) -> dict[str, Any] | None:
    """Return the mapping in a JSON file; None for any other file."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def request(folder: Path, payload: dict[str, Any], model: str) -> str:
    """Write what was sent into ``request.json``; return the id.

    Exits with a message for an invalid id, which would become part of an address, and with code 3 if the request is for
    another model.
    """
    found = {name: str(payload.get(name) or "") for name in FIELDS}
    if found["model"] != model:
        sys.stderr.write(f"the request is for {found['model'][:100]!r}, this job for {model!r}: nothing to do\n")
        sys.exit(OTHER_MODEL)
    if not ID.fullmatch(found["request_id"]):
        sys.exit(f"the id of the request is {found['request_id'][:100]!r}; it is 1 to 64 letters, digits, _ and -")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "request.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found["request_id"]


def plain(contest: dict[str, Any] | None) -> str:
    """Return the decision in two lines of text."""
    said = contest or {"decision": "there was no contest"}
    lines = ["".join(sign for sign in str(said.get(key) or "") if sign.isprintable()) for key in ("decision", "reason")]
    return f"Driftline: {lines[0]}\n{lines[1]}\n"


def summary(contest: dict[str, Any] | None) -> str:
    """Return the contest as Markdown; no name or reason in it can become markup."""
    if contest is None:
        return "### Driftline: there was no contest\n"
    lines = [f"### Driftline: {shown(contest.get('decision'))}", "", shown(contest.get("reason")), ""]
    gates = [gate for gate in contest.get("gates") or () if isinstance(gate, dict)]
    if gates:
        lines += ["| gate | | why |", "|---|---|---|"]
        signs = {True: "✅", False: "❌", None: "–"}
        for gate in gates:
            passed = signs.get(gate.get("passed"), "–")
            lines.append(f"| {shown(gate.get('name'))} | {passed} | {shown(gate.get('reason'))} |")
    return "\n".join(lines) + "\n"


def shown(value: object) -> str:
    """Return a value as one line of Markdown, with all markup escaped."""
    text = html.escape(" ".join(str(value or "").split()))
    return re.sub(r"[\\`*_\[\]|~#@!$]", lambda sign: f"&#{ord(sign[0])};", text)


def report(folder: Path, id: str, evidence: dict[str, Any] | None, status: str, link: str) -> dict[str, Any]:
    """Return the report to Driftline: whether there is a challenger, which one, and the evidence for the contest."""
    result = read(folder / "result.json")
    ok = status == "success" and result is not None and evidence is not None
    left = "result.json" if result is None else "evidence of the contest"
    why = f"the job left no {left}" if status == "success" else f"the job's status is {status}"
    return {
        "ok": ok,
        "reason": "" if ok else why[:LONGEST_REASON],
        "result": result if ok else None,
        "evidence": evidence if ok else None,
        "link": link,
        "request_id": id,
    }


def signature(body: bytes, secret: str, seconds: int) -> dict[str, str]:
    """Return the headers with the time and signature of a report; empty without a secret."""
    if not secret:
        return {}
    digest = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Driftline-Timestamp": str(seconds), "X-Driftline-Signature": f"sha256={digest}"}


def nothing_to_tell(id: str, url: str) -> str:
    """Say why nothing is reported; empty if there is something to report."""
    if not ID.fullmatch(id):
        return "there is no request"
    if id.startswith(TRIAL):
        return "this was a trial"
    return "" if url else "DRIFTLINE_URL is not set"


class Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirects, which would get the token."""

    def redirect_request(self, *_: object) -> None:
        """Return None, which tells urllib not to follow."""
        return


def post(url: str, content: dict[str, Any], token: str, secret: str = "", pause_seconds: float = PAUSE_SECONDS) -> None:
    """Post JSON, signed if there is a secret; tries a few times, and exits with a message if it is not accepted."""
    headers = {"Content-Type": "application/json", "User-Agent": "driftline-ci"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps(content).encode()
    opener = urllib.request.build_opener(Stay)
    for left in range(TRIES - 1, -1, -1):
        signed = signature(body, secret, int(time.time()))  # noqa: TID251 - a script of its own, in a job
        asked = urllib.request.Request(url, body, headers | signed, method="POST")
        try:
            with opener.open(asked, timeout=TIMEOUT_SECONDS):
                return
        except urllib.error.HTTPError as error:
            with error:
                # On one line, because a line of its own might be a command to the CI.
                said = " ".join(error.read(500).decode(errors="replace").split()).replace(token or "\0", "…")
                said = said.replace(secret or "\0", "…")
            if not left or (error.code < 500 and error.code not in BUSY):
                sys.exit(f"Driftline did not take the report: status {error.code}: {said}")
        except (OSError, HTTPException) as error:
            if not left:
                sys.exit(f"Driftline cannot be reached: {error}")
        time.sleep(pause_seconds)


def main(arguments: Sequence[str]) -> None:
    """Run the command that the first argument names."""
    parser = argparse.ArgumentParser(description=__doc__)
    does = parser.add_subparsers(dest="does", required=True)
    one = does.add_parser("request", help="write request.json into the run's folder; print the id")
    one.add_argument("--payload", type=Path, help="a file of JSON that has the fields; without one they are given here")
    for name in FIELDS:
        one.add_argument(f"--{name.replace('_', '-')}", default="")
    two = does.add_parser("summary", help="print the contest as Markdown")
    two.add_argument("--plain", action="store_true", help="as text")
    three = does.add_parser(
        "report", help="tell Driftline; standard input has the token on its first line, and on the next the secret"
    )
    three.add_argument("--url", required=True, help="Driftline's address")
    three.add_argument("--status", required=True, help="the job's: success, or another")
    three.add_argument("--link", default="", help="where the job can be seen")
    for each in (one, three):
        each.add_argument("--run", type=Path, required=True, help="the run's folder")
    two.add_argument("--contest", type=Path, required=True, help="what `driftline gate --json` printed")
    three.add_argument("--evidence", type=Path, required=True, help="what `driftline gate --evidence` wrote")
    said = parser.parse_args(arguments)
    if said.does == "request":
        given = {name: getattr(said, name) for name in FIELDS}
        payload = read(said.payload) if said.payload and str(said.payload) != "." else given
        if payload is None:
            sys.exit("what came with the trigger is no JSON")
        sys.stdout.write(request(said.run, payload, said.model))
    elif said.does == "summary":
        sys.stdout.write((plain if said.plain else summary)(read(said.contest)))
    else:
        id = str((read(said.run / "request.json") or {}).get("request_id", ""))
        if why := nothing_to_tell(id, said.url):
            sys.stdout.write(f"Nothing is reported: {why}.\n")
            return
        content = report(said.run, id, read(said.evidence), said.status, said.link)
        token, _, secret = sys.stdin.read().partition("\n")
        post(f"{said.url.rstrip('/')}/api/v1/retraining/{id}/result", content, token.strip(), secret.strip())


if __name__ == "__main__":
    main(sys.argv[1:])
