"""Which trackers of Ship24 a reconciliation looks at, and where it goes on."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receiver.access.bearer import Secret
from receiver.clock import iso, to_micros
from receiver.domain.reconciliation import OURS, VENDORS, Position, ReconcileRequest
from receiver.maintenance.reconcile.ship24_api import Ship24Api
from receiver.maintenance.reconcile.ship24_choice import TrackerChoice
from receiver.storage.database import Database
from tests.harness.ship24 import body, event, item
from tests.harness.ship24_api import KEY, fake_ship24
from tests.harness.storage import make_tables
from tests.harness.store import opened
from tests.harness.table import each_row

SINCE = datetime(2026, 3, 1, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=2)
CREATED = {
    "v1-too-early": SINCE - timedelta(hours=1, milliseconds=1),
    "v2-clock-late": SINCE - timedelta(hours=1),
    "v3-at-the-end": UNTIL,
    "v4-too-late": UNTIL + timedelta(milliseconds=1),
}
WINDOW = ReconcileRequest(to_micros(SINCE), to_micros(UNTIL))
ALL = ReconcileRequest(all_trackers=True)
OPEN = ReconcileRequest(to_micros(SINCE))
OURS_ALL = ["our-a", "our-b"]  # arrived long before the window
VENDORS_ALL = [*CREATED, "v5-of-no-time"]


async def read(query: Callable[..., Any], *arguments: object) -> Any:
    return query(*arguments)


def choose(url: str, request: ReconcileRequest, position: Position) -> list[tuple[str, Position]]:
    """Return what is chosen at a vendor that knows `our-a`, the trackers of `CREATED`, one without a time and one not tracked."""

    async def gather(choice: TrackerChoice) -> list[tuple[str, Position]]:
        return [found async for found in choice.choose(request, position)]

    with fake_ship24() as vendor:
        vendor.add("our-a")
        for name, created_at in CREATED.items():
            vendor.add(name, created_at=iso(to_micros(created_at)))
        vendor.add("v5-of-no-time", created_at="no time")
        vendor.add("v6-not-subscribed", is_subscribed=False)
        api = Ship24Api(vendor.url, Secret("api key", KEY), lambda _seconds: None)
        return asyncio.run(gather(TrackerChoice(api, Database(url), read)))


@pytest.fixture
def url(sqlite_url: str) -> str:
    make_tables(sqlite_url)
    with opened(sqlite_url) as store:
        store.keep(body(*(item(f"m-{name}", name, [event()]) for name in OURS_ALL)))
    return sqlite_url


@each_row(
    ("request_", "position", "expected"),
    [
        (ALL, Position(), [*OURS_ALL, *VENDORS_ALL]),
        (ALL, Position(OURS, "our-a"), ["our-b", *VENDORS_ALL]),
        (WINDOW, Position(), ["v2-clock-late", "v3-at-the-end", "v5-of-no-time"]),
        (OPEN, Position(VENDORS), ["v2-clock-late", "v3-at-the-end", "v4-too-late", "v5-of-no-time"]),
        (ReconcileRequest(trackers=("x", "our-b", "x")), Position(), ["our-b", "x"]),
        (ReconcileRequest(trackers=("x", "our-b")), Position(OURS, "our-b"), ["x"]),
        (ReconcileRequest(), Position(), OURS_ALL),
    ],
    ids=[
        "all",
        "all, from a position",
        "a window",
        "since a time",
        "named",
        "named, from a position",
        "named, whatever the time",
        "ours",
    ],
)
def test_trackers_of_ours_then_those_of_the_vendor_in_the_window(
    url: str, request_: ReconcileRequest, position: Position, expected: list[str]
) -> None:
    chosen = choose(url, request_, position)
    assert sorted(name for name, _ in chosen) == sorted(expected)
    assert [name for name, after in chosen if after.part == OURS] == [name for name in expected if name[0] != "v"]


def test_after_each_tracker_the_same_work_goes_on_without_it(url: str) -> None:
    chosen = choose(url, ALL, Position())
    for number, (_, position) in enumerate(chosen, 1):
        assert choose(url, ALL, position) == chosen[number:]
