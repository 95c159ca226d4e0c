"""Items of a tracker without an event in its timeline: further copies of messages, and messages with nothing new."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, select

from receiver.storage.database import Database
from receiver.storage.queries.pages import public
from receiver.storage.tables.ledger import WITHOUT_EVENTS, MessageTable, RepeatedMessageTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.revisions import every_version

_MAX_COPIES = 500
_MIN_SHARE = 5  # copies of one message
_SHOWN = ("message_id", "delivery_id", "position", "outcome", "reason", "received_at")


def list_copies(database: Database, source: str, tracker_id: str) -> list[dict[str, Any]]:
    """Return the items of a tracker without an event of their own, newest first, at most the last 500."""
    messages, events = table_of(MessageTable), every_version()
    of_tracker = messages.c.source == source, messages.c.tracker_id == tracker_id
    without_events = select(*(messages.c[name] for name in _SHOWN)).where(WITHOUT_EVENTS, *of_tracker)
    with_events = select(events.c.message_id).where(events.c.source == source, events.c.tracker_id == tracker_id)
    with database.read() as connection:
        found = connection.execute(without_events.order_by(messages.c.delivery_id.desc()).limit(_MAX_COPIES)).mappings().all()
        newest = connection.execute(with_events.order_by(events.c.received_at.desc()).limit(_MAX_COPIES)).scalars()
        ids = {*newest, *(row["message_id"] for row in found)}
        share = max(_MIN_SHARE, _MAX_COPIES // max(1, len(ids)))
        copies, _ = read_copies(connection, _SHOWN, source, ids, share)
        found = [*found, *copies]
    newest_first = sorted(found, key=lambda item: (item["delivery_id"], item["position"]), reverse=True)
    return [public(row) for row in newest_first[:_MAX_COPIES]]


def read_copies(
    connection: Connection, names: Sequence[str], source: str, message_ids: Collection[str], share: int, before: str | None = None
) -> tuple[Sequence[RowMapping], str | None]:
    """Return columns of the last copies of messages, and the delivery id from which on the copies are complete (None: all are).

    With `before`, only deliveries before this id count. A sender may repeat a message a million times: at most about `share`
    copies of each message are read.
    """
    repeated = table_of(RepeatedMessageTable)
    complete_from = connection.execute(_select_complete_from(source, message_ids, share, before)).scalar()
    within = [repeated.c.source == source, repeated.c.message_id.in_(message_ids)]
    within += [] if before is None else [repeated.c.delivery_id < before]
    within += [] if complete_from is None else [repeated.c.delivery_id >= complete_from]
    return connection.execute(select(*(repeated.c[name] for name in names)).where(*within)).mappings().all(), complete_from


def _select_complete_from(source: str, message_ids: Collection[str], share: int, before: str | None) -> Select[Any]:
    """Select the latest of the deliveries with the `share`-last copy of each message. One step into the index finds each."""
    messages, repeated = table_of(MessageTable), table_of(RepeatedMessageTable)
    of_message = [repeated.c.source == messages.c.source, repeated.c.message_id == messages.c.message_id]
    of_message += [] if before is None else [repeated.c.delivery_id < before]
    last = select(repeated.c.delivery_id).where(*of_message).order_by(repeated.c.delivery_id.desc())
    at_share = last.offset(share - 1).limit(1).correlate(messages).scalar_subquery().label("delivery_id")
    each = select(at_share).where(messages.c.source == source, messages.c.message_id.in_(message_ids)).subquery()
    return select(func.max(each.c.delivery_id))
