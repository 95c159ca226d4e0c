"""Clocks that jump."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from tests.faults.scenario import Lacking, Result, Scenario, Size
from tests.faults.verification import judge
from tests.harness.changes import SECRET, write_targets
from tests.harness.endpoint import Endpoint, answering
from tests.harness.service import Service, serving, wait_until
from tests.harness.traffic import NewBodies, Senders
from tests.harness.wall_clock import NoClock, WallClock

_HOUR = 3600
_YEAR = 365 * 24 * _HOUR
_TURNS = (0, -_HOUR, _YEAR, 0)
_SENDERS = 3  # every change is relayed too
_PATIENCE_SECONDS = 300.0  # whoever asks this clock reads a file, and threads that wait ask all the time


def jump(directory: Path, size: Size) -> Result:
    """The clock goes back an hour, then a year forward, then right: order, identities, bytes and changes stay what they are."""
    try:
        clock = WallClock(directory)
    except NoClock as reason:
        raise Lacking(str(reason)) from None
    url = f"sqlite:///{directory}/receiver.db"
    parcels = NewBodies(datetime.now(UTC) - timedelta(days=1))  # around the present: an hour is more than what lies between them
    with answering() as endpoint:
        write_targets(directory, shop=endpoint.url)
        with (
            serving(directory, url, clock.prefix, target_secrets=f"shop:{SECRET}") as service,
            Senders(service, senders=_SENDERS, parcels=parcels) as traffic,
        ):
            for seconds in _TURNS:
                clock.turn(seconds)
                traffic.wait_for_answers(int(size.seconds * 40), _PATIENCE_SECONDS)
            result = judge("clock an hour back, a year ahead", traffic, url, None)
            _check_clock(service)
            _check_relayed(service, endpoint)
            return result


def _check_clock(service: Service) -> None:
    """Check that the service believed what it was shown."""
    times = service.rows("SELECT min(received_at) AS earliest, max(received_at) AS latest FROM deliveries")[0]
    assert times["latest"] - times["earliest"] > _YEAR * 1_000_000


def _check_relayed(service: Service, endpoint: Endpoint) -> None:
    """Check that every change comes to the target, a tracker's in their order."""
    wait_until(lambda: service.count("dispatches") == 0, "all changes are relayed")
    moves: dict[str, list[int]] = {}
    for change in endpoint.changes:
        moves.setdefault(change["tracker_id"], []).append(change["sequence"])
    assert all(one <= other for told in moves.values() for one, other in pairwise(told))
    told = {(tracker, move) for tracker, numbers in moves.items() for move in numbers}
    rows = service.table("events", "tracker_id", "move", outcome="applied")
    assert told == {(row["tracker_id"], row["move"]) for row in rows}


SCENARIOS: dict[str, Scenario] = {"clock an hour back, a year ahead": jump}
