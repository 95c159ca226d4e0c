"""The times in which deliveries may have been lost, for the API, the console and the command line."""

from collections.abc import Sequence
from datetime import timedelta

from receiver.clock import iso
from receiver.domain.downtime import Downtime, find_downtimes
from receiver.storage.database import Database
from receiver.storage.queries import downtime as queries

DEFAULT_SPAN = timedelta(days=90)
"""The time that is looked at, unless somebody asks for another one."""


def read_downtimes(database: Database, since: int, now: int) -> list[Downtime]:
    """Return the downtimes that ended after `since`, or go on, the last one first. Times are microseconds."""
    found = find_downtimes(
        queries.read_service_spans(database, since),
        queries.read_traffic_spans(database, since, now),
        queries.read_silences(database, since),
        now,
    )
    return [downtime for downtime in found if downtime.ended_at is None or downtime.ended_at >= since]


def describe_downtime(downtime: Downtime, active_sources: Sequence[str]) -> dict[str, str | None]:
    """Return a downtime as the API shows it. `active_sources` are those that are on."""
    return {
        "began_at": iso(downtime.began_at),
        "ended_at": None if downtime.ended_at is None else iso(downtime.ended_at),
        "kind": downtime.kind,
        "source": downtime.source,
        "command": downtime.command(active_sources),
    }
