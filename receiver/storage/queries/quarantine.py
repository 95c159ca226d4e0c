"""The list of quarantined messages and events."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, func, select

from receiver.clock import first_id
from receiver.domain.advice import advise
from receiver.storage.database import Database
from receiver.storage.queries.pages import ResultPage, Span, as_stored, in_range, is_storable, read_by_time, write_cursor
from receiver.storage.tables.ledger import IS_OPEN, DeliveryTable, QuarantineTable, SearchTermTable
from receiver.storage.tables.metadata import table_of

CLOSED_STATES = ("dismissed", "resolved")
QUARANTINE_STATES = ("open", *CLOSED_STATES, "all")
"""The states by which the quarantine is filtered."""

SHOWN_RAW_BYTES = 4000
"""The length of the content that a list shows of each item."""

_SEARCHED_ROWS = 500  # that one page of a search reads, with the beginning of their content
_MAX_NAMESAKES = 50  # trackers with the same number


class QuarantineFilter(NamedTuple):
    """The filter of the quarantine: all conditions that are set must hold.

    `search` is a message id, a tracker id, a number or reference of the tracker, or text in the beginning of the content, without
    case. `since` (included) and `until` (excluded) are microseconds. `state` is one of `QUARANTINE_STATES`, `sort` of `SORTS`.
    """

    source: str | None = None
    reason: str | None = None
    search: str | None = None
    since: int | None = None
    until: int | None = None
    state: str = "open"
    delivery_id: str | None = None
    sort: str = "newest"


_OPEN = QuarantineFilter()


def list_quarantine(
    database: Database, wanted: QuarantineFilter = _OPEN, limit: int = 50, cursor: str | None = None
) -> ResultPage:
    """Return quarantined messages and events, by default newest first, with advice and the beginning of their content as text."""
    table = table_of(QuarantineTable)
    narrow, rest = _conditions(wanted)
    span = Span(*(None if micros is None else first_id(micros) for micros in map(in_range, (wanted.since, wanted.until))))
    if not is_storable(wanted.source, wanted.reason, wanted.delivery_id):
        return ResultPage([], None)
    size = limit if wanted.search is None else _SEARCHED_ROWS
    with database.read() as connection:
        page = read_by_time(connection, table, _columns(), narrow, rest, cursor, size, span, sort=wanted.sort)
        page = page._replace(items=[_complete(item) for item in page.items])
        return page if wanted.search is None else _search(connection, page, wanted.search, limit)


def find_quarantined_deliveries(database: Database, ids: Sequence[str]) -> list[str]:
    """Return the ids of the deliveries of these items, oldest first. The caller bounds their number."""
    quarantine = table_of(QuarantineTable)
    deliveries = select(quarantine.c.delivery_id).where(quarantine.c.id.in_(ids))
    with database.read() as connection:
        return sorted(set(connection.execute(deliveries).scalars()))


def find_items(database: Database, ids: Sequence[str], state: str) -> dict[str, str]:
    """Return the reasons of those of these items that are open or dismissed, by id. The caller bounds their number."""
    quarantine = table_of(QuarantineTable)
    closed_as = None if state == "open" else state
    named = select(quarantine.c.id, quarantine.c.reason).where(quarantine.c.id.in_(ids), quarantine.c.closed_as == closed_as)
    with database.read() as connection:
        return {row.id: row.reason for row in connection.execute(named)}


def describe_item(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item with its state and with advice."""
    state = item.pop("closed_as") or "open"
    return {**item, "state": state, "advice": advise(item["reason"])}


def _conditions(wanted: QuarantineFilter) -> tuple[list[ColumnElement[bool]], dict[str, object]]:
    """Return the condition that an index serves, and the values to check on a bounded number of rows."""
    rest: dict[str, object] = {} if wanted.source is None else {"source": wanted.source}
    if wanted.state in CLOSED_STATES:
        rest["closed_as"] = wanted.state
    by_reason = {} if wanted.reason is None else {"reason": wanted.reason}
    if wanted.delivery_id is not None:
        of_delivery = table_of(QuarantineTable).c.delivery_id == wanted.delivery_id
        return [of_delivery], rest | by_reason | ({"closed_at": None} if wanted.state == "open" else {})
    if wanted.state == "open":
        return [and_(IS_OPEN)], rest | by_reason
    return [table_of(QuarantineTable).c.reason == wanted.reason] if by_reason else [], rest


def _columns() -> list[ColumnElement[Any]]:
    table, deliveries = table_of(QuarantineTable), table_of(DeliveryTable)
    columns: list[ColumnElement[Any]] = [column for column in table.columns if column.name != "raw"]
    test_run = select(deliveries.c.test_run).where(deliveries.c.id == table.c.delivery_id).scalar_subquery().label("test_run")
    return [
        *columns,
        test_run,
        func.length(table.c.raw).label("raw_bytes"),
        func.substr(table.c.raw, 1, SHOWN_RAW_BYTES).label("raw"),
    ]


def _complete(item: dict[str, Any]) -> dict[str, Any]:
    beginning = bytes(item["raw"] or b"").decode("utf-8", "replace")  # SQLite's substr of empty bytes is NULL
    return {**describe_item(item), "raw": beginning}


def _search(connection: Connection, page: ResultPage, text: str, limit: int) -> ResultPage:
    """Return the items of a page that match, at most `limit`. The next page goes on after the last one."""
    name = as_stored(text).casefold()
    named = _find_namesakes(connection, name) if is_storable(name) else set()
    found = [item for item in page.items if (item["source"], item["tracker_id"]) in named or _contains(item, text, name)]
    if len(found) > limit:
        return ResultPage(found[:limit], write_cursor(found[limit - 1]["id"]))
    return page._replace(items=found)


def _find_namesakes(connection: Connection, term: str) -> set[tuple[str, str]]:
    """Return the trackers with this number, id or reference."""
    terms = table_of(SearchTermTable)
    named = select(terms.c.source, terms.c.tracker_id).where(terms.c.term == term).limit(_MAX_NAMESAKES)
    return {(row.source, row.tracker_id) for row in connection.execute(named)}


def _contains(item: dict[str, Any], text: str, name: str) -> bool:
    identities = (item[field].casefold() for field in ("message_id", "tracker_id") if item[field])
    return name in identities or text.casefold() in item["raw"].casefold()
