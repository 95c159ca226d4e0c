"""What was told of a tracker and added no event to its timeline: further copies, and messages that carried nothing new."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, select

from receiver.storage.database import Database
from receiver.storage.queries.pages import public
from receiver.storage.tables.ledger import WITHOUT_EVENTS, MessageTable, RepeatedMessageTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.revisions import every_version

_MAX_COPIES = 500
_MIN_SHARE = 5  # of one message
_SHOWN = ("message_id", "delivery_id", "position", "outcome", "reason", "received_at")


def list_copies(database: Database, source: str, tracker_id: str) -> list[dict[str, Any]]:
    """Return the items that told of a tracker and left no event of their own, newest first; of very many the last ones."""
    messages, events = table_of(MessageTable), every_version()
    of_tracker = messages.c.source == source, messages.c.tracker_id == tracker_id
    silent = select(*(messages.c[name] for name in _SHOWN)).where(WITHOUT_EVENTS, *of_tracker)
    told = select(events.c.message_id).where(events.c.source == source, events.c.tracker_id == tracker_id)
    with database.read() as connection:
        found = connection.execute(silent.order_by(messages.c.delivery_id.desc()).limit(_MAX_COPIES)).mappings().all()
        newest = connection.execute(told.order_by(events.c.received_at.desc()).limit(_MAX_COPIES)).scalars()
        ids = {*newest, *(row["message_id"] for row in found)}
        share = max(_MIN_SHARE, _MAX_COPIES // max(1, len(ids)))
        copies, _ = read_copies(connection, _SHOWN, source, ids, share)
        found = [*found, *copies]
    newest_first = sorted(found, key=lambda item: (item["delivery_id"], item["position"]), reverse=True)
    return [public(row) for row in newest_first[:_MAX_COPIES]]


def read_copies(
    connection: Connection, names: Sequence[str], source: str, message_ids: Collection[str], share: int, before: str | None = None
) -> tuple[Sequence[RowMapping], str | None]:
    """Return the last further copies of messages (those before an id), and the call before which some are missing.

    A sender may repeat a message a million times: of none more than its share is read.
    """
    sightings = table_of(RepeatedMessageTable)
    edge = connection.execute(_select_edge(source, message_ids, share, before)).scalar()
    within = [sightings.c.source == source, sightings.c.message_id.in_(message_ids)]
    within += [] if before is None else [sightings.c.delivery_id < before]
    within += [] if edge is None else [sightings.c.delivery_id >= edge]
    return connection.execute(select(*(sightings.c[name] for name in names)).where(*within)).mappings().all(), edge


def _select_edge(source: str, message_ids: Collection[str], share: int, before: str | None) -> Select[Any]:
    """Select the latest of the calls at which the messages reach their share: each is found by a walk along the index."""
    firsts, sightings = table_of(MessageTable), table_of(RepeatedMessageTable)
    of_message = [sightings.c.source == firsts.c.source, sightings.c.message_id == firsts.c.message_id]
    of_message += [] if before is None else [sightings.c.delivery_id < before]
    last = select(sightings.c.delivery_id).where(*of_message).order_by(sightings.c.delivery_id.desc())
    at_share = last.offset(share - 1).limit(1).correlate(firsts).scalar_subquery().label("edge")
    edges = select(at_share).where(firsts.c.source == source, firsts.c.message_id.in_(message_ids)).subquery()
    return select(func.max(edges.c.edge))
