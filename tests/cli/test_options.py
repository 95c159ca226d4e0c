"""Times and numbers on the command line."""

from datetime import UTC, datetime, timedelta

import click
import pytest

from receiver.cli._options import NumberParam, read_moment, read_span
from receiver.clock import from_micros
from tests.harness.table import each_row

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@each_row(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00.5+02:00", datetime(2026, 1, 31, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-01-31 12:00-05:00", datetime(2026, 1, 31, 17, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("45s", NOW - timedelta(seconds=45)),
        ("90m", NOW - timedelta(minutes=90)),
        ("24h", NOW - timedelta(hours=24)),
        ("7d", NOW - timedelta(days=7)),
        ("1901-01-01", datetime(1970, 1, 1, tzinfo=UTC)),
        ("30000d", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_time_with_its_zone_a_date_or_an_age(text: str, expected: datetime) -> None:
    assert from_micros(read_moment(text, NOW)) == expected


@each_row(
    "text",
    ["", "yesterday", "2026-01-31T12:00:00", "20260131T120000", "2026-02-30", "-24h", "1.5h", "\u0667d", "7w", "999999999d"],
)
def test_a_wrong_time_or_number_names_the_valid_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"2026-01-31T12:00:00Z.*\(2026-01-31,.*90m, 24h, 7d"):
        read_moment(text, NOW)


def test_a_span_is_read_to_the_second() -> None:
    assert [read_span(text).total_seconds() for text in ("45s", "90m", "24h", "7d")] == [45, 5400, 86_400, 604_800]


@each_row("text", ["nan", "inf", "-inf", "0", "many"])
def test_a_number_is_one_that_can_be_counted_with(text: str) -> None:
    with pytest.raises(click.BadParameter):
        NumberParam(0, min_open=True).convert(text, None, None)
