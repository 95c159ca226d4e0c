"""Items of a tracker without an event in its timeline: further copies of messages, and messages with nothing new."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, func, select

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
    connection: Connection,
    names: Sequence[str],
    source: str,
    message_ids: Collection[str],
    share: int,
    before: str | None = None,
    start: str | None = None,
) -> tuple[Sequence[RowMapping], str | None]:
    """Return columns of the last copies of messages, and the delivery id from which on the copies are complete (None: all are).

    With `before`, only deliveries before this id count. With `start`, the first copies from this id on are returned, and the id
    up to which they are complete. A sender may repeat a message a million times: at most about `share` copies of each message
    are read.
    """
    repeated = table_of(RepeatedMessageTable)
    within = [] if before is None else [repeated.c.delivery_id < before]
    within += [] if start is None else [repeated.c.delivery_id >= start]
    edge = connection.execute(_select_edge(source, message_ids, share, within, is_first=start is not None)).scalar()
    within += [repeated.c.source == source, repeated.c.message_id.in_(message_ids)]
    if edge is not None:
        within.append(repeated.c.delivery_id >= edge if start is None else repeated.c.delivery_id <= edge)
    return connection.execute(select(*(repeated.c[name] for name in names)).where(*within)).mappings().all(), edge


def _select_edge(
    source: str, message_ids: Collection[str], share: int, within: Sequence[ColumnElement[bool]], *, is_first: bool
) -> Select[Any]:
    """Select the latest of the deliveries with the `share`-last copy of each message. One step into the index finds each.

    With `is_first`, select the earliest of those with the `share`-first copy.
    """
    messages, repeated = table_of(MessageTable), table_of(RepeatedMessageTable)
    of_message = repeated.c.source == messages.c.source, repeated.c.message_id == messages.c.message_id
    copies = select(repeated.c.delivery_id).where(*of_message, *within)
    ordered = copies.order_by(repeated.c.delivery_id if is_first else repeated.c.delivery_id.desc())
    at_share = ordered.offset(share - 1).limit(1).correlate(messages).scalar_subquery().label("delivery_id")
    each = select(at_share).where(messages.c.source == source, messages.c.message_id.in_(message_ids)).subquery()
    return select(func.min(each.c.delivery_id) if is_first else func.max(each.c.delivery_id))
