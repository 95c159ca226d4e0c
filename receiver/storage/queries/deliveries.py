"""Queries for deliveries: lists with filters, and one delivery with its bytes and our answer."""

import base64
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, and_, select

from receiver.clock import first_id
from receiver.domain.records import WEBHOOK
from receiver.errors import NotFound
from receiver.storage.database import Database
from receiver.storage.queries.copies import read_copies
from receiver.storage.queries.numbers import MessageIds, find_messages_of
from receiver.storage.queries.pages import ResultPage, Span, as_stored, in_range, is_storable, public, read_by_time, read_cursor
from receiver.storage.stored_bodies import read_body
from receiver.storage.tables.ids import next_id
from receiver.storage.tables.ledger import (
    IS_BROUGHT_IN,
    IS_TEST,
    NOT_ACCEPTED,
    DeliveryTable,
    MessageTable,
    RepeatedMessageTable,
)
from receiver.storage.tables.metadata import table_of

_MAX_CARRIERS = 1000  # deliveries with one of some messages that are read for one page
_STATUSES = range(100, 600)


class DeliveryFilter(NamedTuple):
    """The filter of a list of deliveries: all conditions that are set must hold.

    `since` (included) and `until` (excluded) are microseconds. `sort` is one of `pages.SORTS`.
    """

    source: str | None = None
    status: int | None = None
    outcome: str | None = None
    client: str | None = None
    since: int | None = None
    until: int | None = None
    message_id: str | None = None
    tracking_number: str | None = None
    test: bool | None = None
    origin: str | None = None
    sort: str = "newest"


class StoredDelivery(NamedTuple):
    """One delivery as it arrived, with the verdicts of its items and our answer.

    `body` and `answer` are None if they were pruned.
    """

    row: dict[str, Any]
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    answer: bytes | None
    items: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Return the delivery as the API shows it. `body` is the exact text; bytes that are not UTF-8 are in `body_base64`."""
        answer = orjson.loads(self.answer) if self.answer else None
        return {**self.row, "headers": self.headers, **_as_text(self.body), "answer": answer, "messages": self.items}


def list_deliveries(
    database: Database, wanted: DeliveryFilter, sources: Sequence[str], limit: int = 50, cursor: str | None = None
) -> ResultPage:
    """Return deliveries, by default newest first, without their bytes.

    `sources` are the names of all sources: ids are found by source.
    """
    table = table_of(DeliveryTable)
    after = read_cursor(cursor, str)
    texts = (wanted.source, wanted.outcome, wanted.origin, wanted.client, wanted.message_id, wanted.tracking_number)
    if not is_storable(*texts) or (wanted.status is not None and wanted.status not in _STATUSES):
        return ResultPage([], None)
    span = Span(_first_id(wanted.since), _first_id(wanted.until))
    narrow, rest = _divide(wanted)
    rest_of_list = _find_rest(span, after, wanted.sort)
    with database.read() as connection:
        carried = list(_find_messages(connection, wanted, sources))
        share = limit + 1  # enough, unless other filters exclude many of them
        if narrow or rest or len(carried) > 1:
            share = max(share, _MAX_CARRIERS // max([1, *(sum(map(len, messages.values())) for messages in carried)]))
        found = [_find_carriers(connection, messages, share, rest_of_list, wanted.sort) for messages in carried]
        narrow += [table.c.id.in_(ids) for ids, _ in found]
        edges = [edge for _, edge in found if edge is not None]
        complete_to = (min if wanted.sort == "oldest" else max)(edges, default=None)
        return read_by_time(connection, table, [*table.columns], narrow, rest, cursor, limit, span, complete_to, wanted.sort)


def _find_rest(span: Span, after: tuple[str] | None, sort: str) -> Span:
    """Return the ids of a list after the last one of the page before."""
    if after is None:
        return span
    if sort == "oldest":
        return Span(max(span.since or "", next_id(after[0])), span.until)
    return Span(span.since, min(filter(None, (span.until, after[0])), default=None))


def _divide(wanted: DeliveryFilter) -> tuple[list[ColumnElement[bool]], dict[str, object]]:
    """Return the conditions of a filter that an index serves, and those to check on each row (column and value)."""
    rest = {name: value for name in ("status", "outcome", "client") if (value := getattr(wanted, name)) is not None}
    of_source = {} if wanted.source is None else {"source": wanted.source}
    if wanted.test is not None and not wanted.test:
        rest["test_run"] = None
    indexed = [and_(IS_TEST)] if wanted.test else []
    if wanted.origin is not None:
        rest["origin"] = wanted.origin
        indexed += [and_(IS_BROUGHT_IN)] if wanted.origin != WEBHOOK else []
    if wanted.outcome not in {None, "accepted"} or (wanted.status or 0) >= 400:
        return [and_(NOT_ACCEPTED), *indexed], {**rest, **of_source}
    return [*indexed, *(table_of(DeliveryTable).c[name] == value for name, value in of_source.items())], rest


def _first_id(micros: int | None) -> str | None:
    moment = in_range(micros)
    return None if moment is None else first_id(moment)


def show_delivery(database: Database, delivery_id: str) -> StoredDelivery:
    """Return one delivery with its bytes and verdicts. Raises NotFound, BodyDamaged."""
    deliveries = table_of(DeliveryTable)
    if not is_storable(delivery_id):
        raise NotFound("There is no delivery with this id.")
    with database.read() as connection:
        row = connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).mappings().first()
        if row is None:
            raise NotFound(f"There is no delivery {delivery_id}.")
        stored = read_body(connection, delivery_id)
        items = _read_items(connection, delivery_id)
    if stored is None:
        return StoredDelivery(public(row), (), None, None, items)
    headers = tuple((name, value) for name, value in orjson.loads(stored.headers))
    return StoredDelivery(public(row), headers, stored.body, stored.answer, items)


def _as_text(body: bytes | None) -> dict[str, str | None]:
    try:
        return {"body": None if body is None else body.decode(), "body_base64": None}
    except UnicodeDecodeError:
        return {"body": None, "body_base64": base64.b64encode(body or b"").decode()}


def _read_items(connection: Connection, delivery_id: str) -> list[dict[str, Any]]:
    """Return the verdicts of a delivery, in body order. `tracker_id` is None for further copies."""
    messages, repeated = table_of(MessageTable), table_of(RepeatedMessageTable)
    names = ("position", "message_id", "outcome", "reason")
    first = select(*(messages.c[name] for name in (*names, "tracker_id"))).where(messages.c.delivery_id == delivery_id)
    again = select(*(repeated.c[name] for name in names)).where(repeated.c.delivery_id == delivery_id)
    found = [dict(row) for row in connection.execute(first).mappings()]
    found += [{**row, "tracker_id": None} for row in connection.execute(again).mappings()]
    return sorted(found, key=lambda item: int(item["position"]))


def _find_carriers(
    connection: Connection, messages: MessageIds, share: int, span: Span, sort: str
) -> tuple[list[str], str | None]:
    """Return the first deliveries of a list with one of these messages, and up to which id they are complete."""
    table = table_of(MessageTable)
    is_oldest_first = sort == "oldest"
    within = [] if span.until is None else [table.c.delivery_id < span.until]
    within += [] if span.since is None else [table.c.delivery_id >= span.since]
    start = (span.since or "") if is_oldest_first else None
    found: set[str] = set()
    edges: list[str] = []
    for source, ids in messages.items():
        firsts = select(table.c.delivery_id).where(table.c.source == source, table.c.message_id.in_(ids), *within)
        found.update(connection.execute(firsts).scalars())
        copies, edge = read_copies(connection, ("delivery_id",), source, ids, share, span.until, start)
        found.update(copy["delivery_id"] for copy in copies)
        edges += [] if edge is None else [edge]
    carriers = sorted(found, reverse=not is_oldest_first)[:_MAX_CARRIERS]
    if len(carriers) < len(found):
        edges.append(carriers[-1])
    return carriers, (min if is_oldest_first else max)(edges, default=None)


def _find_messages(connection: Connection, wanted: DeliveryFilter, sources: Sequence[str]) -> Iterator[MessageIds]:
    """Yield sets of messages. A delivery matches the filter if it contains a message of each set."""
    if wanted.message_id is not None:
        yield {source: [as_stored(wanted.message_id)] for source in sources}
    if wanted.tracking_number is not None:
        yield find_messages_of(connection, wanted.tracking_number)
