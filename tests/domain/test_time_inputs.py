"""Times as people type them, in the zone that they see."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from receiver.clock import from_micros
from receiver.domain.time_inputs import read_span, read_time_input
from tests.harness.table import each_row

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)  # in Berlin it is 00:30 of the next day
FOLD = datetime(2026, 10, 25, 12, tzinfo=UTC)
GAP = datetime(2026, 3, 29, 12, tzinfo=UTC)


def read(text: str, now: datetime, zone: ZoneInfo | None = None) -> str:
    return from_micros(read_time_input(text, now, zone or UTC)).isoformat(" ").removesuffix("+00:00")


@each_row(
    ("text", "in_utc", "in_berlin"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31 12:00:00", "2026-01-31 12:00:00"),
        ("2026-01-31t12:00:00z", "2026-01-31 12:00:00", "2026-01-31 12:00:00"),
        ("2026-01-31T12:00:00.5+02:00", "2026-01-31 10:00:00.500000", "2026-01-31 10:00:00.500000"),
        ("2026-01-31 12:00-05:00", "2026-01-31 17:00:00", "2026-01-31 17:00:00"),
        ("2026-01-31T12:00", "2026-01-31 12:00:00", "2026-01-31 11:00:00"),
        ("2026-07-31 12:00:05", "2026-07-31 12:00:05", "2026-07-31 10:00:05"),
        ("2026-01-31", "2026-01-31 00:00:00", "2026-01-30 23:00:00"),
        ("today", "2026-03-01 00:00:00", "2026-03-01 23:00:00"),
        ("Yesterday", "2026-02-28 00:00:00", "2026-02-28 23:00:00"),
        ("14:03", "2026-03-01 14:03:00", "2026-03-02 13:03:00"),
        ("9:05", "2026-03-01 09:05:00", "2026-03-02 08:05:00"),
        ("14:03:59", "2026-03-01 14:03:59", "2026-03-02 13:03:59"),
        ("9:05:59", "2026-03-01 09:05:59", "2026-03-02 08:05:59"),
        ("yesterday 14:03", "2026-02-28 14:03:00", "2026-03-01 13:03:00"),
        ("45s", "2026-03-01 23:29:15", "2026-03-01 23:29:15"),
        ("90m", "2026-03-01 22:00:00", "2026-03-01 22:00:00"),
        ("2h ago", "2026-03-01 21:30:00", "2026-03-01 21:30:00"),
        ("3d ago", "2026-02-26 23:30:00", "2026-02-26 23:30:00"),
        ("1901-01-01", "1970-01-01 00:00:00", "1970-01-01 00:00:00"),
        ("30000d", "1970-01-01 00:00:00", "1970-01-01 00:00:00"),
    ],
)
def test_a_time_without_a_zone_is_in_the_zone_that_is_shown(text: str, in_utc: str, in_berlin: str) -> None:
    assert (read(text, NOW), read(text, NOW, BERLIN)) == (in_utc, in_berlin)


@each_row(
    ("text", "now", "expected"),
    [
        pytest.param("2:30", FOLD, "2026-10-25 00:30:00", id="comes twice: the first"),
        pytest.param("2026-10-25 03:00", FOLD, "2026-10-25 02:00:00", id="after the fold"),
        pytest.param("yesterday 12:00", FOLD, "2026-10-24 10:00:00", id="the day before the fold"),
        pytest.param("24h", FOLD, "2026-10-24 12:00:00", id="an age is exact"),
        pytest.param("2:30", GAP, "2026-03-29 01:30:00", id="does not come: 03:30 of summer"),
        pytest.param("3:00", GAP, "2026-03-29 01:00:00", id="after the gap"),
        pytest.param("yesterday", GAP, "2026-03-27 23:00:00", id="the day before the gap"),
    ],
)
def test_a_day_on_which_clocks_change_has_one_answer(text: str, now: datetime, expected: str) -> None:
    assert read(text, now, BERLIN) == expected


def test_a_day_that_begins_without_midnight_begins_at_its_first_moment() -> None:
    assert read("2024-04-26", NOW, ZoneInfo("Africa/Cairo")) == "2024-04-25 22:00:00"


@each_row(
    "text",
    [
        *("", " ", "ago", "soon", "tomorrow", "25:00", "14:3", "14", "2026-02-30", "today today", "today ", "yesterday ago"),
        *("-24h", "1.5h", "\u0667d", "7w", "999999999d", "0001-01-01T00:00:00+23:00"),
    ],
)
def test_a_wrong_time_names_the_valid_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"2026-01-31T12:00:00Z.*14:03, today, yesterday 14:03.*90m, 24h, 7d ago"):
        read_time_input(text, NOW, BERLIN)


def test_a_span_is_read_to_the_second() -> None:
    assert [read_span(text) for text in ("45s", "90m", "24h", "7d")] == [
        timedelta(seconds=45),
        timedelta(minutes=90),
        timedelta(hours=24),
        timedelta(days=7),
    ]
