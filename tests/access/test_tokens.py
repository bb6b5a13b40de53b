"""Tokens: good until they are over, stored as digests, made and ended under somebody's name."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.access.callers import Caller, Role, require_allowed, role_needed
from driftline.access.tokens import caller_of, create_token, csrf_of, has_admin, revoke_token, state_of
from driftline.errors import ConflictError, ForbiddenError, UnauthorizedError, UnknownNameError, UsageError
from driftline.store.database import open_database
from driftline.store.state import State

NOW = datetime(2024, 3, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=90)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(open_database(f"sqlite:///{tmp_path / 'state.db'}"))


def caller(state: State, token: str, now: datetime = NOW) -> Caller:
    with state.read() as read:
        return caller_of(read, token, now)


def test_a_token_is_its_holder_until_it_expires(state: State) -> None:
    token = create_token(state, "ci", Role.WRITE, NOW, models=["b", "a", "b"], lasts=LATER - NOW, by="root")
    assert caller(state, token) == Caller("ci", Role.WRITE, ("a", "b"))
    assert caller(state, token, LATER - timedelta(microseconds=1)).name == "ci"
    with pytest.raises(UnauthorizedError, match="has expired"):
        caller(state, token, LATER)
    with state.read() as read:
        [row] = read.tokens.all()
        assert (state_of(row, NOW), state_of(row, LATER)) == ("good", "expired")


def test_a_revoked_one_is_good_no_more_and_its_name_is_free(state: State) -> None:
    first = create_token(state, "ann", Role.READ, NOW, by="root")
    with pytest.raises(ConflictError, match="a token of ann already"):
        create_token(state, "ann", Role.ADMIN, NOW, by="root")
    revoke_token(state, "ann", NOW, by="bob")
    revoke_token(state, "ann", LATER, by="carl")  # it is over already
    with pytest.raises(UnauthorizedError, match="was revoked"):
        caller(state, first)
    second = create_token(state, "ann", Role.ADMIN, NOW, by="root")
    assert (caller(state, second).role, first == second) == (Role.ADMIN, False)
    with pytest.raises(UnauthorizedError, match="not known"):
        caller(state, first)
    with pytest.raises(UnknownNameError, match="known: ann"):
        revoke_token(state, "anna", NOW, by="bob")
    with state.read() as read:
        told = [(one.by, one.action, one.subject, one.reason) for one in read.audit.newest(9)]
    assert told == [
        ("root", "create token", "ann", "admin"),
        ("bob", "revoke token", "ann", ""),
        ("root", "create token", "ann", "read"),
    ]


def test_no_token_stands_in_the_database(state: State, tmp_path: Path) -> None:
    token = create_token(state, "ann", Role.ADMIN, NOW, by="root")
    with sqlite3.connect(tmp_path / "state.db") as database:
        assert token.removeprefix("dl_") not in "\n".join(database.iterdump())


@pytest.mark.parametrize("came", ["", "dl_", "x" * 46, "dl_" + "ü" * 43, "dl_" + "a" * 43, "dl_" + "a" * 10_000])
def test_what_is_no_token_is_not_known(state: State, came: str) -> None:
    with pytest.raises(UnauthorizedError, match="not known"):
        caller(state, came)


@pytest.mark.parametrize("name", ["", " ", "-a", "a b", "a\n", "a" * 101, "<b>", "a/b"])
def test_a_name_that_is_none_is_refused(state: State, name: str) -> None:
    with pytest.raises(UsageError, match="allowed are up to 100 letters"):
        create_token(state, name, Role.READ, NOW, by="root")


@pytest.mark.parametrize("lasts", [timedelta(0), timedelta(days=-1), timedelta.max])
def test_a_time_that_is_none_is_refused(state: State, lasts: timedelta) -> None:
    with pytest.raises(UsageError):
        create_token(state, "ann", Role.READ, NOW, lasts=lasts, by="root")


def test_an_admin_of_some_models_administers_no_service(state: State) -> None:
    def admin(now: datetime = NOW) -> bool:
        with state.read() as read:
            return has_admin(read, now)

    create_token(state, "reader", Role.READ, NOW, by="root")
    create_token(state, "one", Role.ADMIN, NOW, models=["m"], by="root")
    assert not admin()
    create_token(state, "all", Role.ADMIN, NOW, lasts=LATER - NOW, by="root")
    assert (admin(), admin(LATER)) == (True, False)


@given(st.sampled_from(Role), st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "X"]), st.booleans())
def test_reading_never_changes_and_writing_never_reads(role: Role, method: str, events: bool) -> None:
    needed, allowed = role_needed(method, events=events), True
    try:
        require_allowed(Caller("a", role), needed, "m")
    except ForbiddenError:
        allowed = False
    reads = method in ("GET", "HEAD")
    others = {Role.READ} if reads else {Role.WRITE} if events else set()
    assert allowed == (role in others | {Role.ADMIN})


@given(st.lists(st.sampled_from("abc")), st.one_of(st.none(), st.sampled_from("abcd")))
def test_a_limited_token_reaches_its_models_and_nothing_of_all(models: list[str], asked: str | None) -> None:
    who = Caller("a", Role.ADMIN, tuple(models))
    if not models or asked in models:
        require_allowed(who, Role.READ, asked)
    else:
        with pytest.raises(ForbiddenError):
            require_allowed(who, Role.READ, asked)


def test_what_a_page_sends_with_a_write_says_nothing_of_the_token() -> None:
    assert csrf_of("dl_a") != csrf_of("dl_b") and "dl_a" not in csrf_of("dl_a") and len(csrf_of("dl_a")) == 64
