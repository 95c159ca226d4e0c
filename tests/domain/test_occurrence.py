"""The four forms of a courier's time, and which of two is newer."""

from datetime import UTC, date, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.newer import EventTime, compare_times, is_newer
from receiver.domain.occurrence import Occurrence, is_implausible, read_occurrence
from tests.harness.table import each_row

DAY = date(2022, 10, 23)
WALL = datetime(2022, 10, 23, 15, 13, 37)  # noqa: DTZ001  a wall clock has no zone
RECEIVED = datetime(2022, 10, 23, 12, 0, tzinfo=UTC)
LIMIT = timedelta(hours=48)
EXTREMES = (
    "0001-01-01",
    "0001-01-01T00:00:00",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "0001-01-01T00:00:00-23:59",
    "9999-12-31",
    "9999-12-31T23:59:59.999999",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59.999999+23:59",
    "9999-12-31T23:59:59.999999-23:59",
    "2022-10-23T15:13:37+02:00",
)


def moment(text: str, order: int | None = None) -> EventTime:
    return EventTime(read_occurrence(text), order)


def utc(hour: int, minute: int, second: int, micro: int = 0) -> datetime:
    return datetime(2022, 10, 23, hour, minute, second, micro, tzinfo=UTC)


@each_row(
    ("text", "wall", "instant"),
    [
        pytest.param("2022-10-23", None, None, id="bare date"),
        pytest.param("2022-10-23T15:13:37", WALL, None, id="wall clock"),
        pytest.param("2022-10-23T15:13:37+02:00", WALL, utc(13, 13, 37), id="offset"),
        pytest.param("2022-10-23T15:13:37Z", WALL, utc(15, 13, 37), id="UTC"),
        pytest.param("2022-10-23T15:13:37.000Z", WALL, utc(15, 13, 37), id="UTC with milliseconds"),
        pytest.param("2022-10-23T15:13:37.000", WALL, None, id="wall clock with milliseconds"),
        pytest.param("2022-10-23T15:13:37z", WALL, utc(15, 13, 37), id="lower-case z"),
        pytest.param("2022-10-23t15:13:37Z", WALL, utc(15, 13, 37), id="lower-case t"),
        pytest.param("2022-10-23 15:13:37", WALL, None, id="a space for the T"),
        pytest.param("2022-10-23T15:13", WALL.replace(second=0), None, id="without seconds"),
        pytest.param("2022-10-23T15:13:37+0200", WALL, utc(13, 13, 37), id="offset without colon"),
        pytest.param("2022-10-23T15:13:37-0330", WALL, utc(18, 43, 37), id="negative half-hour offset"),
        pytest.param("2022-10-23T15:13:37+23:59", WALL, utc(15, 13, 37) - timedelta(hours=23, minutes=59), id="largest offset"),
        pytest.param("2022-10-23T15:13:37-00:00", WALL, utc(15, 13, 37), id="negative zero"),
        pytest.param("2022-10-23T15:13:37.1234567Z", WALL.replace(microsecond=123456), utc(15, 13, 37, 123456), id="7 digits"),
        pytest.param("2022-10-23T15:13:37,5", WALL.replace(microsecond=500_000), None, id="a comma before the fraction"),
        pytest.param("  2022-10-23T15:13:37\n", WALL, None, id="white space around"),
        pytest.param("\ufeff2022-10-23T15:13:37\u200b", WALL, None, id="invisible characters around"),
    ],
)
def test_the_four_forms_and_their_variants_are_read(text: str, wall: datetime | None, instant: datetime | None) -> None:
    assert read_occurrence(text) == Occurrence(text, DAY, wall, instant)


@each_row(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(" ", id="white space"),
        pytest.param("yesterday", id="a word"),
        pytest.param("2022-13-01", id="month 13"),
        pytest.param("2022-00-10", id="month 0"),
        pytest.param("2022-02-30", id="30 February"),
        pytest.param("2023-02-29T10:00:00", id="29 February of a common year"),
        pytest.param("0000-01-01", id="year 0"),
        pytest.param("10000-01-01", id="year of five digits"),
        pytest.param("-2022-10-23", id="negative year"),
        pytest.param("22-10-23", id="year of two digits"),
        pytest.param("20221023", id="basic date"),
        pytest.param("2022-W42-7", id="week date"),
        pytest.param("2022-296", id="day of the year"),
        pytest.param("23.10.2022", id="German date"),
        pytest.param("10/23/2022", id="American date"),
        pytest.param("1666538017", id="seconds since 1970"),
        pytest.param("2022-10-23T", id="T without a time"),
        pytest.param("2022-10-23T15", id="hour alone"),
        pytest.param("2022-10-23T24:00:00", id="24:00"),
        pytest.param("2022-10-23T25:00:00", id="hour 25"),
        pytest.param("2022-10-23T15:60:00", id="minute 60"),
        pytest.param("2022-10-23T15:13:60", id="leap second"),
        pytest.param("2022-10-23T15:13.5", id="fraction of a minute"),
        pytest.param("2022-10-23T15:13:37.", id="point without a fraction"),
        pytest.param("2022-10-23T15:13:37.1234567890", id="ten digits of fraction"),
        pytest.param("2022-10-23T15:13:37+24:00", id="offset of a day"),
        pytest.param("2022-10-23T15:13:37-99:00", id="offset of four days"),
        pytest.param("2022-10-23T15:13:37+02:60", id="60 minutes in the offset"),
        pytest.param("2022-10-23T15:13:37+00:99", id="99 minutes in the offset"),
        pytest.param("2022-10-23T15:13:37+02", id="offset of hours alone"),
        pytest.param("2022-10-23T15:13:37+2:00", id="offset of one digit"),
        pytest.param("2022-10-23T15:13:37 +02:00", id="space before the offset"),
        pytest.param("2022-10-23T15:13:37ZZ", id="two zones"),
        pytest.param("2022-10-23T15:13:37 CET", id="name of a zone"),
        pytest.param("2022-10-23Z", id="date with a zone"),
        pytest.param("\u0662\u0660\u0662\u0662-10-23", id="Arabic digits"),
        pytest.param("2022-10-23T15:13:37+\uff10\uff12:00", id="full-width digits in the offset"),
        pytest.param("2022-10-23T15:13:37\0", id="NUL"),
        pytest.param("2022-10-23\n2022-10-24", id="two lines"),
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_occurrence(text)


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9:.,]{0,16}[zZ+\-0-9:]{0,6})?", fullmatch=True))
def test_any_text_is_kept_as_it_came_or_refused(text: str) -> None:
    try:
        assert read_occurrence(text).text == text
    except ValueError:
        return


OLDER, NEWER = "2022-10-23T10:00:00", "2022-10-23T11:00:00"


@each_row(
    ("candidate", "latest", "newer"),
    [
        pytest.param(moment(NEWER), moment(OLDER), True, id="1: later wall clock"),
        pytest.param(moment(OLDER), moment(NEWER), False, id="1: earlier wall clock"),
        pytest.param(moment(OLDER, 9), moment(NEWER, 1), False, id="1: earlier wall clock, larger order"),
        pytest.param(moment(NEWER, 1), moment(OLDER, 9), True, id="1: later wall clock, smaller order"),
        pytest.param(moment(OLDER + "-05:00"), moment(NEWER + "+02:00"), True, id="1: later instant, earlier wall clock"),
        pytest.param(moment(NEWER + "+02:00"), moment(OLDER + "Z"), False, id="1: earlier instant, later wall clock"),
        pytest.param(moment(OLDER + "Z"), moment(NEWER + "+01:00"), False, id="1: the same instant in two zones"),
        pytest.param(moment(OLDER + "Z", 2), moment(NEWER + "+01:00", 1), True, id="3: the same instant, larger order"),
        pytest.param(moment("2022-10-23T00:30:00+09:00"), moment("2022-10-22T16:00:00Z"), False, id="1: instants over midnight"),
        pytest.param(moment(NEWER), moment(OLDER + "-05:00"), True, id="1: zone on the latest alone, wall clocks decide"),
        pytest.param(moment(OLDER), moment(NEWER + "+05:00"), False, id="1: zone on the latest alone, earlier wall clock"),
        pytest.param(moment(NEWER + "+05:00"), moment(OLDER), True, id="1: zone on the candidate alone, wall clocks decide"),
        pytest.param(moment(OLDER + "Z"), moment(OLDER), False, id="3: zone on one side, equal wall clocks"),
        pytest.param(moment(OLDER + "Z", 5), moment(OLDER, 4), True, id="3: zone on one side, equal wall clocks, order"),
        pytest.param(moment(OLDER + ".001"), moment(OLDER), True, id="1: a millisecond later"),
        pytest.param(moment("2022-10-24"), moment("2022-10-23"), True, id="2: later date"),
        pytest.param(moment("2022-10-22"), moment("2022-10-23"), False, id="2: earlier date"),
        pytest.param(moment("2022-10-22", 9), moment("2022-10-23", 1), False, id="2: earlier date, larger order"),
        pytest.param(moment("2022-10-24"), moment("2022-10-23T23:59:59"), True, id="2: date after a time of the day before"),
        pytest.param(moment("2022-10-23"), moment("2022-10-23T00:00:00"), False, id="2: date against a time of that day"),
        pytest.param(moment("2022-10-23T23:59:59"), moment("2022-10-23"), False, id="2: time against its own date"),
        pytest.param(moment("2022-10-24T00:00:00"), moment("2022-10-23"), True, id="2: time of the day after"),
        pytest.param(moment("2022-10-23"), moment("2022-10-22T23:00:00-05:00"), True, id="2: dates as written, not as UTC"),
        pytest.param(moment("2022-10-23T01:00:00+09:00"), moment("2022-10-22"), True, id="2: the local day counts"),
        pytest.param(moment("2022-10-23", 2), moment("2022-10-23T18:00:00", 1), True, id="3: date and time, larger order"),
        pytest.param(moment("2022-10-23", 1), moment("2022-10-23", 2), False, id="3: equal dates, smaller order"),
        pytest.param(moment("2022-10-23", 2), moment("2022-10-23", 1), True, id="3: equal dates, larger order"),
        pytest.param(moment(OLDER, 0), moment(OLDER, -1), True, id="3: zero is an order"),
        pytest.param(moment(OLDER, 3), moment(OLDER, 3), False, id="3: equal times, equal order"),
        pytest.param(moment(OLDER, 3), moment(OLDER), False, id="3: the latest has no order"),
        pytest.param(moment(OLDER), moment(OLDER, 3), False, id="3: the candidate has no order"),
        pytest.param(moment(OLDER), moment(OLDER), False, id="3: a tie"),
        pytest.param(moment("0001-01-01"), None, True, id="nothing is stored yet"),
    ],
)
def test_newer_by_the_three_rules(candidate: EventTime, latest: EventTime | None, newer: bool) -> None:
    assert is_newer(candidate, latest) is newer


@each_row(("one", "other"), list(product(EXTREMES, EXTREMES)))
def test_the_ends_of_the_calendar_compare_without_overflow(one: str, other: str) -> None:
    difference = compare_times(moment(one), moment(other))
    assert difference == -compare_times(moment(other), moment(one))
    assert is_newer(moment(one), moment(other)) is (difference > 0)


def test_the_ends_of_the_calendar_are_in_order() -> None:
    assert compare_times(moment("9999-12-31T23:59:59-23:59"), moment("9999-12-31T23:59:59+23:59")) == 1
    assert compare_times(moment("0001-01-01T00:00:00+23:59"), moment("0001-01-01T00:00:00-23:59")) == -1


@each_row("text", EXTREMES)
@each_row("received", [datetime.min.replace(tzinfo=UTC), RECEIVED, datetime.max.replace(tzinfo=UTC)], ids=str)
def test_the_ends_of_the_calendar_are_weighed_without_overflow(text: str, received: datetime) -> None:
    assert is_implausible(read_occurrence(text), received, LIMIT) is (text[:4] > f"{received.year:04}")


DAYS = st.dates().map(str)
CLOCKS = st.times().map(lambda clock: clock.isoformat())
ZONES = st.sampled_from(["", "Z", "+00:00", "+02:00", "-0930", "+23:59", "-23:59"])
OCCURRENCES = st.one_of(DAYS, st.builds("{}T{}{}".format, DAYS, CLOCKS, ZONES)).map(read_occurrence)
MOMENTS = st.builds(EventTime, OCCURRENCES, st.none() | st.integers(-3, 3))


@given(MOMENTS, MOMENTS)
def test_comparing_the_other_way_round_gives_the_opposite(one: EventTime, other: EventTime) -> None:
    assert compare_times(one, other) == -compare_times(other, one)


@given(MOMENTS)
def test_nothing_is_newer_than_itself(one: EventTime) -> None:
    assert compare_times(one, one) == 0


@each_row(
    ("text", "implausible"),
    [
        pytest.param("2022-10-25T12:00:00Z", False, id="48 hours ahead"),
        pytest.param("2022-10-25T12:00:00.000001Z", True, id="a microsecond more"),
        pytest.param("2022-10-25T14:00:00+02:00", False, id="48 hours ahead, in another zone"),
        pytest.param("2022-10-25T14:00:01+02:00", True, id="a second more, in another zone"),
        pytest.param("2022-10-25T12:00:00", False, id="48 hours ahead, zone unknown"),
        pytest.param("2022-10-25T12:00:01", True, id="a second more, zone unknown"),
        pytest.param("2022-10-25", False, id="bare date whose first moment is within"),
        pytest.param("2022-10-26", True, id="bare date whose first moment is beyond"),
        pytest.param("1999-01-01", False, id="long ago"),
    ],
)
def test_a_time_is_implausible_from_beyond_48_hours_after_its_receipt(text: str, implausible: bool) -> None:
    assert is_implausible(read_occurrence(text), RECEIVED, LIMIT) is implausible


def test_the_limit_is_a_setting() -> None:
    occurrence = read_occurrence("2022-10-23T14:00:00Z")
    assert not is_implausible(occurrence, RECEIVED, timedelta(hours=2))
    assert is_implausible(occurrence, RECEIVED, timedelta(hours=1))
