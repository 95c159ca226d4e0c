"""The columns of charts: whole hours and days of a time zone, also where clocks change, and free ranges."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from receiver.clock import from_micros, to_micros
from receiver.errors import UnexpectedShape
from receiver.web.console.charts import draw_columns
from receiver.web.console.time_ranges import RANGES, ChartRange, divide, last_range, read_range
from tests.harness.table import each_row

BERLIN, KATHMANDU, SANTIAGO = (ZoneInfo(name) for name in ("Europe/Berlin", "Asia/Kathmandu", "America/Santiago"))
BACK = datetime(2026, 10, 25, 12, 0, tzinfo=UTC)  # in Berlin, 03:00 CEST became 02:00 CET at 01:00 UTC
FORWARD = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)  # 02:00 CET became 03:00 CEST at 01:00 UTC
HOUR = 3600
DAY = 86_400


def local_hours(edges: tuple[int, ...], zone: ZoneInfo) -> list[str]:
    return [f"{from_micros(edge).astimezone(zone):%d %H:%M}" for edge in edges]


def lengths(edges: tuple[int, ...]) -> list[float]:
    return [(end - begin) / 1_000_000 / HOUR for begin, end in pairwise(edges)]


@each_row(("now", "hours"), [(BACK, [4, 3, 3]), (FORWARD, [2, 3, 3]), (BACK + timedelta(days=7), [3, 3, 3])])
def test_columns_begin_at_hours_of_the_local_day_where_clocks_change(now: datetime, hours: list[float]) -> None:
    midnight = now.astimezone(BERLIN).replace(hour=0)
    edges = divide(to_micros(midnight), to_micros(midnight) + 8 * HOUR * 1_000_000, 3 * HOUR, BERLIN)
    assert [text[3:] for text in local_hours(edges, BERLIN)] == ["00:00", "03:00", "06:00", "09:00"]
    assert lengths(edges) == hours


@each_row("now", [BACK, FORWARD])
def test_days_are_local_days_and_hours_keep_their_length(now: datetime) -> None:
    days = divide(to_micros(now - timedelta(days=2)), to_micros(now), DAY, BERLIN)
    assert {text[3:] for text in local_hours(days, BERLIN)} == {"00:00"}
    assert lengths(days)[-1] == (25 if now == BACK else 23)
    half_hours = divide(to_micros(now - timedelta(days=1)), to_micros(now), 1800, BERLIN)
    assert set(lengths(half_hours)) == {0.5}


@each_row("chosen", RANGES, ids=lambda chosen: chosen.name)
def test_every_range_has_its_columns_in_every_zone_on_every_day(chosen: ChartRange) -> None:
    for zone in (BERLIN, KATHMANDU, SANTIAGO):
        for day in range(0, 366, 3):
            now = datetime(2026, 1, 1, 3, 7, tzinfo=UTC) + timedelta(days=day, hours=day % 24)
            edges = last_range(chosen, now, zone).edges
            assert len(edges) - 1 == chosen.seconds // chosen.step_seconds
            assert list(edges) == sorted(set(edges))
            assert edges[-2] <= to_micros(now) < edges[-1]


@each_row("zone", [BERLIN, KATHMANDU, SANTIAGO])
def test_a_range_of_which_only_hours_are_counted_has_columns_of_whole_hours_of_utc(zone: ZoneInfo) -> None:
    found = read_range({"since": "2026-10-20 05:10", "until": "2026-10-20 06:10"}, BACK, zone).edges
    assert found[-1] - found[0] >= HOUR * 1_000_000
    for minutes in range(0, 180, 20):
        for edges in (found, last_range(RANGES[2], BACK + timedelta(minutes=minutes), zone).edges):
            assert not any(edge % (HOUR * 1_000_000) for edge in edges)


def test_a_zone_with_another_minute_has_whole_local_hours() -> None:
    edges = last_range(RANGES[1], BACK, KATHMANDU).edges
    assert {text[-2:] for text in local_hours(edges, KATHMANDU)} == {"00", "30"}


def test_a_free_range_is_read_in_the_zone_and_widened_to_whole_columns() -> None:
    found = read_range({"since": "2026-10-25 05:00", "until": "06:10"}, BACK, BERLIN)
    assert local_hours(found.edges[:1] + found.edges[-1:], BERLIN) == ["25 05:00", "25 06:10"]
    assert len(found.edges) - 1 == 14
    marks = draw_columns(found.edges, ("accepted",), {}, zone=BERLIN).marks
    assert (marks[0], marks[-1]) == ("05:00", "06:10")
    assert read_range({"since": "2026-10-25 02:30"}, BACK, BERLIN).edges[0] == to_micros(
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    )
    assert len(read_range({"since": "2025-10-25"}, BACK, BERLIN).edges) < 60
    assert read_range({"until": "1h ago"}, BACK, UTC).edges[-1] == to_micros(BACK - timedelta(hours=1))


@each_row("query", [{"since": "soon"}, {"since": "14:00", "until": "13:00"}, {"since": "2024-01-01"}, {"until": "x"}])
def test_a_range_that_cannot_be_shown_is_refused_with_its_parameter(query: dict[str, str]) -> None:
    with pytest.raises(UnexpectedShape, match=r"^(since|until): expected"):
        read_range(query, BACK, BERLIN)
