"""Reads and writes of the ledger for messages and events that arrive again with other content."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import Connection, bindparam, select, update

from receiver.domain.rows import EventRow, MessageRow
from receiver.domain.timelines import EventKey, Timelines, TrackerKey, Version
from receiver.storage.statements import is_one_of
from receiver.storage.tables.ledger import EventTable, MessageTable, QuarantineTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.revisions import SUPERSEDED

_T = TypeVar("_T")
_KEYS = 500  # in one statement
_AS_READ = ("source", "message_id", "delivery_id", "position", "digest")


def find_partly(connection: Connection, messages: Sequence[MessageRow]) -> set[tuple[str, str]]:
    """Return the keys of the messages with a part in quarantine."""
    quarantine = table_of(QuarantineTable)
    at_position = {(row.delivery_id, row.position): (row.source, row.message_id) for row in messages}
    columns = (quarantine.c.delivery_id, quarantine.c.position)
    found: set[tuple[str, str]] = set()
    for some in _cut(sorted(at_position)):
        found |= {at_position[tuple(row)] for row in connection.execute(select(*columns).where(is_one_of(columns, some)))}
    return found


def read_timelines(connection: Connection, timelines: Timelines, keys: Collection[TrackerKey]) -> None:
    """Read the whole timelines of trackers and their superseded contents. The trackers are locked."""
    events = table_of(EventTable)
    for some in _cut(sorted(keys)):
        for key in some:
            timelines.rows[key] = {}
        for row in connection.execute(select(events).where(is_one_of((events.c.source, events.c.tracker_id), some))):
            timelines.rows[row.source, row.tracker_id][row.event_id] = EventRow(*row)
        columns = [SUPERSEDED.c[name] for name in ("source", "tracker_id", "event_id", "digest")]
        for row in connection.execute(select(*columns).where(is_one_of(columns[:2], some))):
            timelines.contents.add(((row.source, row.tracker_id, row.event_id), row.digest))


def refresh_versions(connection: Connection, versions: Mapping[EventKey, Version]) -> None:
    """Record that current versions arrived again in later messages. The trackers are locked or new."""
    if not versions:
        return
    events = table_of(EventTable)
    named = [events.c[name] == bindparam(f"of_{name}") for name in ("source", "tracker_id", "event_id")]
    fresh = [
        {**dict(zip(("of_source", "of_tracker_id", "of_event_id"), identity, strict=True)), "at": version[1], "by": version[2]}
        for identity, version in sorted(versions.items())
    ]
    refresh = update(events).where(*named).values(generated_at=bindparam("at"), stands_by=bindparam("by"))
    connection.execute(refresh, fresh)


def rewrite_messages(connection: Connection, pairs: Sequence[tuple[MessageRow, MessageRow]]) -> bool:
    """Update rows of messages, each only if it is unchanged since it was read; return whether all were."""
    messages, complete = table_of(MessageTable), True
    for as_read, row in pairs:
        same = (messages.c[name] == getattr(as_read, name) for name in _AS_READ)
        complete &= connection.execute(update(messages).where(*same).values(row._asdict())).rowcount == 1
    return complete


def _cut(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(values), _KEYS):
        yield values[start : start + _KEYS]
