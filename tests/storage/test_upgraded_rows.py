"""Rows that version 0.1.0 wrote, and later messages for their trackers: the state is that of all messages together."""

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from tests.conftest import StartService, lacking
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.earlier_version import EARLIER_TABLES, NotCloned, unpack_earlier, upgrade
from tests.harness.service import Service
from tests.harness.ship24 import Item

OPS = "the-ops-token-of-these-tests"
SHIIPP = "the-shiipp-token-of-these-tests"
PACKAGE = "/webhooks/shiipp/new-package"


class Parcel(NamedTuple):
    """What comes for one tracker: messages for 0.1.0, and messages for this version, each in its order."""

    earlier: Sequence[Item]
    later: Sequence[Item]


def told(message: str, built: int, *events: Item, milestone: str | None = "in_transit", **fields: Any) -> Item:
    """Return a message built at that second; its tracker is set when it is sent."""
    block = None if milestone is None else {"statusMilestone": milestone}
    return ship24.item(message, "?", events, f"2025-03-02T00:00:{built:02}.000Z", shipment=block, **fields)


def happened(event: str, hour: int, status: str = "as first told", **fields: Any) -> Item:
    return ship24.event(event, f"2025-03-01T{hour:02}:00:00", status=status, **fields)


PARCELS = {
    "revised": Parcel([told("m1", 1, happened("e1", 10))], [told("m2", 2, happened("e1", 10, "corrected"))]),
    "revised-by-what-was-built-before": Parcel(
        [told("m2", 2, happened("e1", 10))], [told("m1", 1, happened("e1", 10, "before the correction"))]
    ),
    "revised-by-what-was-built-at-the-same-time": Parcel(
        [told("m2", 1, happened("e1", 10))], [told("m1", 1, happened("e1", 10, "of the smaller id"))]
    ),
    "taken-back": Parcel(
        [told("m1", 1, happened("e1", 10)), told("m2", 2, happened("e2", 12))], [told("m3", 3, happened("e2", 8, "earlier"))]
    ),
    "taken-back-and-again": Parcel(
        [told("m1", 1, happened("e1", 10)), told("m2", 2, happened("e2", 12))],
        [told("m3", 3, happened("e2", 8, "earlier")), told("m4", 4, happened("e2", 12))],
    ),
    "an-event-that-is-not-the-latest": Parcel(
        [told("m1", 1, happened("e1", 10)), told("m2", 2, happened("e2", 12))], [told("m3", 3, happened("e1", 14, "later"))]
    ),
    "told-again-and-then-corrected-before-that": Parcel(
        [told("m1", 1, happened("e1", 10))],
        [told("m3", 3, happened("e1", 10)), told("m2", 2, happened("e1", 10, "overtaken"))],
    ),
    "details-built-later": Parcel(
        [told("m1", 1, happened("e1", 10), milestone="delivered")], [told("m2", 2, milestone="out_for_delivery")]
    ),
    "details-built-before": Parcel(
        [told("m2", 2, happened("e1", 10), milestone="delivered")], [told("m1", 1, milestone="out_for_delivery")]
    ),
    "details-without-a-block": Parcel(
        [told("m1", 1, happened("e1", 10), milestone="delivered")], [told("m2", 2, happened("e2", 12), milestone=None)]
    ),
    "mended": Parcel(
        [told("m1", 1, happened("e1", 10), ship24.event("e2", "no time"), milestone="delivered")],
        [told("m1", 2, happened("e1", 10), happened("e2", 12), milestone="out_for_delivery")],
    ),
    "mended-as-a-whole": Parcel(
        [told("m1", 1, ship24.event("e1", "no time"))], [told("m1", 2, happened("e1", 12), milestone="delivered")]
    ),
    "a-copy": Parcel([told("m1", 1, happened("e1", 10))], [told("m1", 1, happened("e1", 10))]),
}


def of_tracker(tracker: str, items: Sequence[Item]) -> bytes:
    """Return a body of these messages; what identifies is of this tracker alone."""
    body = orjson.loads(ship24.body(*items))
    for item in body["trackings"]:
        item["tracker"] = {"trackerId": tracker, "trackingNumber": f"TN-{tracker}"}
        item["metadata"]["messageId"] += f" of {tracker}"
    return orjson.dumps(body)


def send(to: Service, parcels: dict[str, Sequence[Item]]) -> None:
    for tracker, items in parcels.items():
        for item in items:
            assert to.post(of_tracker(tracker, [item])).status == 200


def state_of(of: Service, tracker: str) -> tuple[Any, ...]:
    """Return a tracker's current event, the sender's view and the timeline."""
    shown = of.get(f"/ops/api/trackers/ship24/{tracker}", OPS).json()
    names = ("latest_event_id", "latest_occurrence", "status", "status_milestone", "shipment_milestone", "tracking_number")
    stands = {(row["event_id"], row["occurrence"], row["status"]) for row in shown["events"] if not row["superseded"]}
    return (*(shown["tracker"][name] for name in names), stands)


@pytest.fixture
def earlier(tmp_path: Path, database_url: str) -> Service:
    """A service of version 0.1.0, with its tables."""
    try:
        prefix = unpack_earlier(tmp_path / "earlier")
    except NotCloned as error:
        lacking(str(error))
    upgrade(database_url, EARLIER_TABLES)
    return Service(tmp_path / "old", database_url, prefix, shiipp_tokens=SHIIPP)


def test_messages_after_an_upgrade_end_in_the_same_state_as_without_an_upgrade(
    service: StartService, tmp_path: Path, earlier: Service, database_url: str
) -> None:
    with closing(earlier.start()):
        send(earlier, {tracker: parcel.earlier for tracker, parcel in PARCELS.items()})
        assert earlier.stop() == 0
    upgraded = service(database_url, ops_tokens=OPS)
    send(upgraded, {tracker: parcel.later for tracker, parcel in PARCELS.items()})
    never = service(f"sqlite:///{tmp_path}/never-upgraded.db", ops_tokens=OPS)
    send(never, {tracker: [*parcel.earlier, *parcel.later] for tracker, parcel in PARCELS.items()})
    for tracker in PARCELS:
        assert state_of(upgraded, tracker) == state_of(never, tracker), tracker
    assert upgraded.count("quarantine", reason="undecidable") == 0
    open_items = upgraded.get("/ops/api/quarantine", OPS).json()["items"]
    assert (open_items, upgraded.count("quarantine", closed_as="resolved")) == ([], 2)  # those of the mended messages
    done = run_command("trackers", "show", "taken-back", cwd=upgraded.directory, env=upgraded.env)
    assert done.returncode == 0, done.stderr


def test_details_of_a_sender_without_a_clock_replace_those_that_were_dated_ahead(
    service: StartService, earlier: Service, database_url: str
) -> None:
    """Version 0.1.0 took the entry time of a package, which has no zone, for the clock of its details."""
    ahead = (datetime.now(UTC) + timedelta(hours=8)).strftime("%Y-%m-%d %H:%M:%S")
    package = {"package_id": "P1", "tracking_number": "TN-1", "entry_time": ahead, "house_number": "before"}
    with closing(earlier.start()):
        assert earlier.post(orjson.dumps(package), PACKAGE, SHIIPP).json()["quarantined"] == 0
        assert earlier.stop() == 0
    upgraded = service(database_url, shiipp_tokens=SHIIPP)
    assert upgraded.post(orjson.dumps(package | {"house_number": "after"}), PACKAGE, SHIIPP).status == 200
    assert upgraded.value("trackers", "shipment_reference") == "after"
