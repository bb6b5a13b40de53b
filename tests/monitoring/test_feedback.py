"""What people said of a model's windows, as its detector takes it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from driftline.detection import Accepted, Role, Series, SeriesKind, Use
from driftline.events import Window, WindowSpec
from driftline.monitoring.feedback import FeedbackKind, Guidance, guidance_of, in_words, judged_again_since
from driftline.store.feedback import FeedbackRow

DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)


def said(
    kind: str, since: int | None = None, until: int | None = None, *, at: int = 0, column: str = ""
) -> FeedbackRow:
    """Feedback on a span of days from the start on."""
    moments = [None if day is None else START + day * DAY for day in (since, until)]
    return FeedbackRow(f"{kind}{at}", "m", kind, *moments, column, "", "", "ann", START + at * DAY)


def day(number: int, days: int = 1) -> Window:
    return Window(START + number * DAY, START + (number + days) * DAY)


rows = st.builds(
    lambda kind, since, length, at: said(kind, since, since + length, at=at, column="x" if kind == "ignore" else ""),
    st.sampled_from([*FeedbackKind]),
    st.integers(0, 20),
    st.integers(1, 9),
    st.integers(0, 99),
)


@given(st.lists(rows, max_size=8, unique_by=lambda row: row.id), st.randoms(use_true_random=False))
def test_the_order_in_which_feedback_is_read_does_not_matter(given: list[FeedbackRow], chance: object) -> None:
    shuffled = list(given)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert guidance_of(shuffled) == guidance_of(given)


@given(st.lists(rows, max_size=8, unique_by=lambda row: row.id), rows.map(lambda row: FeedbackRow("more", *_rest(row))))
def test_one_more_changes_nothing_before_the_moment_that_it_changes(
    given: list[FeedbackRow], more: FeedbackRow
) -> None:
    before, after, moment = guidance_of(given), guidance_of([*given, more]), judged_again_since([more])
    assert moment is not None
    for number in range(32):
        if day(number).end <= moment:
            assert before.use_of(day(number)) == after.use_of(day(number))
    assert [one for one in after.accepted if one.at < moment] == [one for one in before.accepted if one.at < moment]
    assert before.ignored == after.ignored or moment < START


def _rest(row: FeedbackRow) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in FeedbackRow.__slots__[1:])


def test_each_kind_says_its_own() -> None:
    found = guidance_of(
        [
            said("accept", 2, 9),
            said("expected", 20, 22),
            said("missed", 30, 31),
            said("incident", 40, 41),
            said("ignore", column="x"),
        ],
        maintenance=[day(50)],
    )
    assert found.accepted == (Accepted(START + 9 * DAY, START + 2 * DAY),)
    assert [one.at for one in found.endings] == [START + 9 * DAY, START + 22 * DAY]
    assert [number for number in range(60) if found.use_of(day(number)) is Use.JUDGE] == [20, 21, 30, 40, 50]
    assert found.ignored == ("x",)


def test_days_of_the_calendar_are_those_of_the_time_zone_of_the_model() -> None:
    spec = WindowSpec("1d", "America/Los_Angeles")
    found = guidance_of([], calendar=[date(2024, 12, 25)], timezone=spec.timezone)
    christmas = spec.window_of(datetime(2024, 12, 25, 20, tzinfo=UTC))
    assert found.use_of(christmas) is Use.SKIP
    assert found.use_of(spec.window_of(christmas.end)) is Use.LEARN
    assert found.use_of(WindowSpec("1h").window_of(christmas.start)) is Use.SKIP
    assert found.use_of(WindowSpec("1w").window_of(christmas.start)) is Use.LEARN  # one day of seven


def test_what_is_ignored_leaves_its_share_of_the_budget_to_the_others() -> None:
    series = [
        Series(Role.FEATURE, name, "location", SeriesKind.LOCATION, weight)
        for name, weight in (("x", 0.25), ("y", 0.25), ("z", 0.5))
    ]
    assert [one.weight for one in Guidance(ignored=("z",)).weighed(series)] == [0.5, 0.5, 0.0]
    assert [one.weight for one in Guidance(ignored=("x", "y", "z")).weighed(series)] == [0.0, 0.0, 0.0]
    assert Guidance().weighed(series) == tuple(series)


def test_it_is_told_who_said_what() -> None:
    assert in_words(said("accept", 0, 7)) == "ann accepted it as the new normal"
