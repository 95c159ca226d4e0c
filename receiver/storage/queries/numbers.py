"""The messages for a tracking number."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from sqlalchemy import Connection, func, select, union_all

from receiver.storage.tables.ledger import WITHOUT_EVENTS, EventTable, MessageTable, SearchTermTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.revisions import SUPERSEDED

_MAX_MESSAGES = 2000  # the last ones of a tracking number
_MAX_NAMESAKES = 50  # trackers with the same number

MessageIds: TypeAlias = Mapping[str, Sequence[str]]
"""Ids of messages by source."""


def find_messages_of(connection: Connection, tracking_number: str) -> MessageIds:
    """Return the last messages for a tracking number. Messages with events of their own are found through these."""
    terms, messages = table_of(SearchTermTable), table_of(MessageTable)
    events = table_of(EventTable)
    named = select(terms.c.source, terms.c.tracker_id).where(terms.c.term == tracking_number.casefold())
    trackers: dict[str, list[str]] = defaultdict(list)
    for row in connection.execute(named.limit(_MAX_NAMESAKES)):
        trackers[row.source].append(row.tracker_id)
    found: dict[str, list[str]] = {}
    for source, ids in trackers.items():
        parts = [
            select(table.c.message_id, table.c.received_at).where(table.c.source == source, table.c.tracker_id.in_(ids), *narrow)
            for table, narrow in ((events, []), (SUPERSEDED, []), (messages, [WITHOUT_EVENTS]))
        ]
        each = union_all(*parts).subquery()
        last = select(each.c.message_id).group_by(each.c.message_id).order_by(func.max(each.c.received_at).desc())
        found[source] = list(connection.execute(last.limit(_MAX_MESSAGES)).scalars())
    return found
