"""Compare what the senders know with the database: nothing lost, nothing doubled."""

from collections.abc import Collection, Iterator

from tests.faults.scenario import Result
from tests.harness.database_contents import check_whole
from tests.harness.rows import read_rows, table_rows
from tests.harness.traffic import Senders

_SENSIBLE = {0, 200, 503}
"""A delivery is stored, refused for now, or not answered because a process died."""

BODIES = "delivery without its body"
EVENTS = ("message without its event", "tracker without its latest event")


def judge(
    fault: str, traffic: Senders, url: str, recovery_seconds: float | None, note: str = "", *, without: Collection[str] = ()
) -> Result:
    """Let the senders repeat and ask again, and return the row of the table.

    Fails if an answer made no sense, something is half there, or a tracker is not where it should be. `without` names what
    the fault makes so by right (`check_whole`): bodies may go by their age.
    """
    traffic.stop()
    lost = set(_find_lost(traffic, url, with_bytes=BODIES not in without))  # before anything is sent again, which would mend it
    lost |= traffic.settle()
    assert set(traffic.statuses) <= _SENSIBLE, traffic.statuses
    check_whole(url, without)
    check_states(traffic, url)
    lost |= set(_find_lost(traffic, url, with_bytes=BODIES not in without))
    doubled = set(_find_doubled(traffic, url))
    database = "SQLite" if url.startswith("sqlite") else "PostgreSQL"
    return Result(fault, database, traffic.sent, traffic.answered, len(lost), len(doubled), recovery_seconds, note)


def check_states(traffic: Senders, url: str) -> None:
    """Check that every tracker has its newest event."""
    rows = table_rows(url, "trackers", "tracker_id", "latest_occurrence", "latest_event_id")
    states = {row["tracker_id"]: (row["latest_occurrence"], row["latest_event_id"]) for row in rows}
    wrong = {name: (states.get(name), newest) for name, newest in traffic.parcels.newest.items() if states.get(name) != newest}
    assert wrong == {}


def find_lost_messages(traffic: Senders, url: str) -> Iterator[str]:
    """Give the messages that were answered 2xx and are not stored."""
    held = read_rows(
        url,
        "SELECT m.message_id FROM messages m JOIN events e ON e.source = m.source AND e.message_id = m.message_id",
    )
    yield from {name for call in traffic.kept.values() for name in call.names} - {row["message_id"] for row in held}


def _find_lost(traffic: Senders, url: str, *, with_bytes: bool) -> Iterator[str]:
    """Give the messages that were answered 2xx and are not stored, or whose delivery is not stored byte for byte."""
    yield from find_lost_messages(traffic, url)
    query = "SELECT d.id, b.* FROM deliveries d LEFT JOIN bodies b ON b.delivery_id = d.id WHERE d.status = 200"
    calls = {row["id"]: row["body"] if with_bytes else None for row in read_rows(url, query)}
    for delivery_id, call in traffic.kept.items():
        if delivery_id not in calls or (with_bytes and bytes(calls[delivery_id] or b"") != call.body):
            yield from call.names


def _find_doubled(traffic: Senders, url: str) -> Iterator[str]:
    """Give the messages with more than one effect, and the trackers whose changes do not count 1, 2, 3 up to their last."""
    yield from (name for name, times in traffic.effects.items() if times > 1)
    yield from find_doubled_rows(url)


def find_doubled_rows(url: str) -> Iterator[str]:
    """Give the messages with more than one event in the database, and the trackers with uneven changes."""
    ours = "substr(message_id, 1, 2) = 'm-'"  # each has one event
    twice = f"SELECT message_id FROM events WHERE {ours} GROUP BY source, message_id HAVING count(*) > 1"
    yield from (row["message_id"] for row in read_rows(url, twice))
    uneven = (
        "SELECT t.tracker_id FROM trackers t LEFT JOIN events e "
        "ON e.source = t.source AND e.tracker_id = t.tracker_id AND e.outcome = 'applied' "
        "GROUP BY t.source, t.tracker_id, t.moves "
        "HAVING count(e.move) <> t.moves OR count(DISTINCT e.move) <> t.moves OR min(e.move) <> 1 OR max(e.move) <> t.moves"
    )
    yield from (row["tracker_id"] for row in read_rows(url, uneven))
