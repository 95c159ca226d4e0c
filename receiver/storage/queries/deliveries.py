"""What was called, by whom, and what we answered."""

import base64
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, and_, func, select, union_all

from receiver.clock import first_id
from receiver.errors import NotFound
from receiver.storage.database import Database
from receiver.storage.queries.copies import read_copies
from receiver.storage.queries.pages import ResultPage, Span, in_range, is_keepable, public, read_cursor, read_newest
from receiver.storage.tables.ledger import (
    NOT_ACCEPTED,
    WITHOUT_EVENTS,
    BodyTable,
    DeliveryTable,
    EventTable,
    MessageTable,
    RepeatedMessageTable,
    SearchTermTable,
)
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.revisions import SUPERSEDED

_MAX_MESSAGES = 2000  # of one parcel, the last ones
_MAX_CARRIERS = 1000  # calls that carried one of some messages, looked at for one page
_MAX_NAMESAKES = 50  # trackers that share a number
_STATUSES = range(100, 600)

_Messages = Mapping[str, Sequence[str]]  # ids by source


class DeliveryFilter(NamedTuple):
    """Which calls are wanted; all that is set must hold. `since` and `until` in microseconds; `until` itself is not wanted."""

    source: str | None = None
    status: int | None = None
    outcome: str | None = None
    client: str | None = None
    since: int | None = None
    until: int | None = None
    message_id: str | None = None
    tracking_number: str | None = None


class StoredDelivery(NamedTuple):
    """One call as it came and what became of it. `body` and `answer` are None once they are pruned."""

    row: dict[str, Any]
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    answer: bytes | None
    items: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Return it for programs: `body` is the exact text, or None with `body_base64` where the bytes are not UTF-8."""
        answer = orjson.loads(self.answer) if self.answer else None
        return {**self.row, "headers": self.headers, **_as_text(self.body), "answer": answer, "messages": self.items}


def list_deliveries(
    database: Database, wanted: DeliveryFilter, sources: Sequence[str], limit: int = 50, cursor: str | None = None
) -> ResultPage:
    """Return calls, newest first, without their bytes. `sources` are all that there are: ids are looked up by source."""
    table = table_of(DeliveryTable)
    behind = read_cursor(cursor, str)
    texts = (wanted.source, wanted.outcome, wanted.client, wanted.message_id, wanted.tracking_number)
    if not is_keepable(*texts) or (wanted.status is not None and wanted.status not in _STATUSES):
        return ResultPage([], None)
    span = Span(_first_id(wanted.since), _first_id(wanted.until))
    before = min(filter(None, (span.until, *(behind or ()))), default=None)
    narrow, rest = _divide(wanted)
    with database.read() as connection:
        carried = list(_find_messages(connection, wanted, sources))
        share = limit + 1  # enough, unless other filters leave few of them
        if narrow or rest or len(carried) > 1:
            share = max(share, _MAX_CARRIERS // max([1, *(sum(map(len, messages.values())) for messages in carried)]))
        found = [_carriers(connection, messages, share, before) for messages in carried]
        narrow += [table.c.id.in_(ids) for ids, _ in found]
        edge = max((edge for _, edge in found if edge is not None), default=None)
        return read_newest(connection, table, [*table.columns], narrow, rest, cursor, limit, span, edge)


def _divide(wanted: DeliveryFilter) -> tuple[list[ColumnElement[bool]], dict[str, object]]:
    """Return what an index serves of a filter, and what must be asked of each row."""
    rest = {name: value for name in ("status", "outcome", "client") if (value := getattr(wanted, name)) is not None}
    of_source = {} if wanted.source is None else {"source": wanted.source}
    if wanted.outcome not in {None, "accepted"} or (wanted.status or 0) >= 400:
        return [and_(NOT_ACCEPTED)], {**rest, **of_source}
    return [table_of(DeliveryTable).c[name] == value for name, value in of_source.items()], rest


def _first_id(micros: int | None) -> str | None:
    moment = in_range(micros)
    return None if moment is None else first_id(moment)


def show_delivery(database: Database, delivery_id: str) -> StoredDelivery:
    """Return one call whole. Raises NotFound."""
    deliveries, bodies = table_of(DeliveryTable), table_of(BodyTable)
    if not is_keepable(delivery_id):
        raise NotFound("There is no delivery with this id.")
    with database.read() as connection:
        row = connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).mappings().first()
        if row is None:
            raise NotFound(f"There is no delivery {delivery_id}.")
        stored = connection.execute(select(bodies).where(bodies.c.delivery_id == delivery_id)).first()
        items = _items(connection, delivery_id)
    if stored is None:
        return StoredDelivery(public(row), (), None, None, items)
    headers = tuple((name, value) for name, value in orjson.loads(stored.headers))
    return StoredDelivery(public(row), headers, bytes(stored.body), bytes(stored.answer), items)


def _as_text(body: bytes | None) -> dict[str, str | None]:
    try:
        return {"body": None if body is None else body.decode(), "body_base64": None}
    except UnicodeDecodeError:
        return {"body": None, "body_base64": base64.b64encode(body or b"").decode()}


def _items(connection: Connection, delivery_id: str) -> list[dict[str, Any]]:
    """Return the verdicts of a call, in body order; `tracker_id` is None for further copies."""
    messages, sightings = table_of(MessageTable), table_of(RepeatedMessageTable)
    names = ("position", "message_id", "outcome", "reason")
    first = select(*(messages.c[name] for name in (*names, "tracker_id"))).where(messages.c.delivery_id == delivery_id)
    again = select(*(sightings.c[name] for name in names)).where(sightings.c.delivery_id == delivery_id)
    found = [dict(row) for row in connection.execute(first).mappings()]
    found += [{**row, "tracker_id": None} for row in connection.execute(again).mappings()]
    return sorted(found, key=lambda item: int(item["position"]))


def _carriers(connection: Connection, messages: _Messages, share: int, before: str | None) -> tuple[list[str], str | None]:
    """Return the last calls before an id that carried these messages, of each a share, and the edge behind which some lack."""
    firsts = table_of(MessageTable)
    found: set[str] = set()
    edges: list[str] = []
    for source, ids in messages.items():
        kept = select(firsts.c.delivery_id).where(firsts.c.source == source, firsts.c.message_id.in_(ids))
        found.update(connection.execute(kept if before is None else kept.where(firsts.c.delivery_id < before)).scalars())
        copies, edge = read_copies(connection, ("delivery_id",), source, ids, share, before)
        found.update(copy["delivery_id"] for copy in copies)
        edges += [] if edge is None else [edge]
    last = sorted(found)[-_MAX_CARRIERS:]
    if len(last) < len(found):
        edges.append(last[0])
    return last, max(edges, default=None)


def _find_messages(connection: Connection, wanted: DeliveryFilter, sources: Sequence[str]) -> Iterator[_Messages]:
    """Give the sets of messages of each of which a call must have carried one."""
    if wanted.message_id is not None:
        yield {source: [wanted.message_id] for source in sources}
    if wanted.tracking_number is not None:
        yield _messages_of(connection, wanted.tracking_number)


def _messages_of(connection: Connection, tracking_number: str) -> _Messages:
    """Return the messages that told of a parcel, the last ones: those with events of their own are found by these."""
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
        told = union_all(*parts).subquery()
        last = select(told.c.message_id).group_by(told.c.message_id).order_by(func.max(told.c.received_at).desc())
        found[source] = list(connection.execute(last.limit(_MAX_MESSAGES)).scalars())
    return found
