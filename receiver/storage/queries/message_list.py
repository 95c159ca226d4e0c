"""The list of messages: every item of the deliveries with its verdict, newest delivery first.

An item has a row among the messages, or, as a further copy or without an id, among the repeated messages. A page walks along both
tables by delivery and checks its filter on a bounded number of rows, so its cost does not depend on the size of the tables.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, and_, or_, select

from receiver.clock import first_id
from receiver.domain.records import WEBHOOK
from receiver.storage.database import Database
from receiver.storage.queries.copies import read_copies
from receiver.storage.queries.numbers import find_messages_of
from receiver.storage.queries.pages import ResultPage, in_range, is_storable, public, read_cursor, write_cursor
from receiver.storage.queries.states import read_states
from receiver.storage.tables.ids import next_id
from receiver.storage.tables.ledger import IS_BROUGHT_IN, IS_TEST, DeliveryTable, MessageTable, RepeatedMessageTable
from receiver.storage.tables.metadata import table_of

NOT_APPLIED = "not_applied"
"""The filter for messages that had no effect: neither applied nor an exact copy of a known message."""

_SEEN_ROWS = 1500  # of each table, that one page reads if there is a filter
_MAX_COPIES = 1000  # of the messages for one number, that one page reads
_MAX_BROUGHT_IN = 200  # deliveries of one origin, that one page reads
_BEHIND = 2**31 - 1
"""The position after all items of a delivery."""
_FIRST, _LAST = ("", -1), ("ffffffff-ffff-ffff-ffff-000000000000", _BEHIND)  # before and after every key, in every order
_NAMES = ("source", "message_id", "outcome", "reason", "delivery_id", "position", "received_at")

_Key = tuple[str, int]
"""The key of an item: delivery id and position."""


class MessageFilter(NamedTuple):
    """The filter of a list of messages: all conditions that are set must hold. `origin` is that of the delivery.

    `outcome` is one of `verdicts.OUTCOMES` or NOT_APPLIED. `since` (included) and `until` (excluded) are microseconds.
    `sort` is one of `pages.SORTS`.
    """

    source: str | None = None
    outcome: str | None = None
    reason: str | None = None
    since: int | None = None
    until: int | None = None
    tracking_number: str | None = None
    test: bool | None = None
    origin: str | None = None
    sort: str = "newest"

    def matches(self, row: RowMapping) -> bool:
        """Tell whether a row matches, apart from its time, number, test run and origin."""
        if self.outcome == NOT_APPLIED:
            is_wanted = row["outcome"] != "applied" and (row["outcome"], row["reason"]) != ("duplicate", None)
        else:
            is_wanted = self.outcome in {None, row["outcome"]}
        return is_wanted and self.source in {None, row["source"]} and self.reason in {None, row["reason"]}

    @property
    def is_checked(self) -> bool:
        """Tell whether rows are read that the filter may exclude."""
        return any(value is not None for value in (self.source, self.outcome, self.reason, self.test, self.origin))


class _Walk(NamedTuple):
    """A part of the list: its rows, and the key up to which they are complete, both in the order of the list.

    None: to the end of the list.
    """

    rows: Sequence[RowMapping]
    complete_to: _Key | None


class _Window(NamedTuple):
    """The keys of a part of the list: after `low`, before `high`."""

    low: _Key
    high: _Key


def list_messages(database: Database, wanted: MessageFilter, limit: int = 50, cursor: str | None = None) -> ResultPage:
    """Return messages with their verdicts, by default newest delivery first.

    `tracker_id` and `tracking_number` are those of the message's first arrival; both are None if no tracker is known.
    """
    after = read_cursor(cursor, str, int)
    if not is_storable(wanted.source, wanted.reason, wanted.tracking_number):
        return ResultPage([], None)
    is_oldest_first = wanted.sort == "oldest"
    window = _find_window(wanted, after)
    with database.read() as connection:
        rows, complete_to = _choose_walk(wanted)(connection, wanted, window, limit)
        if complete_to is not None:
            window = _Window(window.low, complete_to) if is_oldest_first else _Window(complete_to, window.high)
        runs = _read_test_runs(connection, window.low[0], window.high[0])
        found = [row for row in rows if window.low < _key(row) < window.high or _key(row) == complete_to]
        found = [row for row in found if wanted.matches(row) and wanted.test in {None, row["delivery_id"] in runs}]
        if wanted.origin is not None:
            origins = _read_origins(connection, found)
            found = [row for row in found if wanted.origin == origins.get(row["delivery_id"], WEBHOOK)]
        found.sort(key=_key, reverse=not is_oldest_first)
        items = _describe(connection, found[:limit], runs)
    if len(found) > limit:
        return ResultPage(items, write_cursor(*_key(found[limit - 1])))
    return ResultPage(items, None if complete_to is None else write_cursor(*complete_to))


def _choose_walk(wanted: MessageFilter) -> Callable[[Connection, MessageFilter, _Window, int], _Walk]:
    """Return the walk that reads few rows in vain."""
    if wanted.tracking_number is not None:
        return _follow_number
    return _follow_time if wanted.origin in {None, WEBHOOK} else _follow_origin


def _find_window(wanted: MessageFilter, after: _Key | None) -> _Window:
    """Return the keys of the list after the last item of the page before."""
    since, until = (None if micros is None else first_id(micros) for micros in map(in_range, (wanted.since, wanted.until)))
    low, high = _FIRST if since is None else (since, -1), _LAST if until is None else (until, -1)
    if after is None:
        return _Window(low, high)
    return _Window(max(low, after), high) if wanted.sort == "oldest" else _Window(low, min(high, after))


def _key(row: RowMapping) -> _Key:
    return row["delivery_id"], row["position"]


def _follow_time(connection: Connection, wanted: MessageFilter, window: _Window, limit: int) -> _Walk:
    """Read the next rows of both tables. The filter is not part of the statement, so that an index on time serves every one."""
    size = _SEEN_ROWS if wanted.is_checked else limit + 1
    is_oldest_first = wanted.sort == "oldest"
    rows: list[RowMapping] = []
    complete_to: list[_Key] = []
    for table in (table_of(MessageTable), table_of(RepeatedMessageTable)):
        place = table.c.delivery_id, table.c.position
        order = place if is_oldest_first else [column.desc() for column in place]
        following = select(*_columns(table)).where(_is_inside(table, window)).order_by(*order).limit(size)
        found = connection.execute(following).mappings().all()
        rows += found
        if len(found) == size:
            complete_to.append(_key(found[-1]))
    return _Walk(rows, (min if is_oldest_first else max)(complete_to, default=None))


def _is_inside(table: Table, window: _Window) -> ColumnElement[bool]:
    (low, low_position), (high, high_position) = window
    delivery_id, position = table.c.delivery_id, table.c.position
    after_low = and_(delivery_id >= low, or_(delivery_id > low, position > low_position))
    return and_(after_low, delivery_id <= high, or_(delivery_id < high, position < high_position))


def _follow_number(connection: Connection, wanted: MessageFilter, window: _Window, limit: int) -> _Walk:
    """Read the messages for a number, and their next copies. All ids have the same length."""
    table = table_of(MessageTable)
    is_oldest_first = wanted.sort == "oldest"
    rows: list[RowMapping] = []
    edges: list[_Key] = []
    end, position = window.high
    before = next_id(end) if position > 0 else end  # with a position, its delivery has items left
    for source, ids in find_messages_of(connection, wanted.tracking_number or "").items():
        named = table.c.source == source, table.c.message_id.in_(ids)
        rows += connection.execute(select(*_columns(table)).where(*named)).mappings().all()
        share = max(limit + 1, _MAX_COPIES // max(1, len(ids)))
        copies, edge = read_copies(connection, _NAMES, source, ids, share, before, window.low[0] if is_oldest_first else None)
        rows += copies
        edges += [] if edge is None else [(edge, _BEHIND) if is_oldest_first else (edge, 0)]
    complete_to = (min if is_oldest_first else max)(edges, default=None)
    is_inside = complete_to is not None and window.low < complete_to < window.high
    return _Walk(rows, complete_to if is_inside else None)


def _follow_origin(connection: Connection, wanted: MessageFilter, window: _Window, limit: int) -> _Walk:
    """Read the messages of the next deliveries that no sender made: they are few among all, and have an index."""
    deliveries = table_of(DeliveryTable)
    is_oldest_first = wanted.sort == "oldest"
    inside = deliveries.c.id >= window.low[0], deliveries.c.id <= window.high[0]
    order = deliveries.c.id if is_oldest_first else deliveries.c.id.desc()
    named = select(deliveries.c.id).where(IS_BROUGHT_IN, deliveries.c.origin == wanted.origin, *inside)
    ids = list(connection.execute(named.order_by(order).limit(_MAX_BROUGHT_IN)).scalars())
    size = max(limit + 1, _SEEN_ROWS)
    rows: list[RowMapping] = []
    edges: list[_Key] = []
    if len(ids) == _MAX_BROUGHT_IN:
        edges.append((ids[-1], _BEHIND) if is_oldest_first else (ids[-1], 0))
    for table in (table_of(MessageTable), table_of(RepeatedMessageTable)):
        place = table.c.delivery_id, table.c.position
        following = select(*_columns(table)).where(table.c.delivery_id.in_(ids), _is_inside(table, window))
        ordered = following.order_by(*(place if is_oldest_first else [column.desc() for column in place]))
        found = connection.execute(ordered.limit(size)).mappings().all()
        rows += found
        if len(found) == size:
            edges.append(_key(found[-1]))
    return _Walk(rows, (min if is_oldest_first else max)(edges, default=None))


def _columns(table: Table) -> list[Any]:
    return [table.c[name] for name in _NAMES]


def _read_test_runs(connection: Connection, low: str, high: str) -> dict[str, str]:
    """Return the runs of the tests among the deliveries between two ids."""
    table = table_of(DeliveryTable)
    tests = select(table.c.id, table.c.test_run).where(IS_TEST, table.c.id >= low, table.c.id <= high)
    return {row.id: row.test_run for row in connection.execute(tests)}


def _read_origins(connection: Connection, rows: Iterable[RowMapping]) -> dict[str, str]:
    """Return the origins of those deliveries that no sender made."""
    table = table_of(DeliveryTable)
    wanted = select(table.c.id, table.c.origin).where(IS_BROUGHT_IN, table.c.id.in_(sorted({row["delivery_id"] for row in rows})))
    return {row.id: row.origin for row in connection.execute(wanted)}


def _describe(connection: Connection, rows: Sequence[RowMapping], runs: dict[str, str]) -> list[dict[str, Any]]:
    """Return the rows as the API shows them, with their trackers."""
    trackers = _find_trackers(connection, rows)
    states = read_states(connection, sorted(set(trackers.values())))
    origins = _read_origins(connection, rows)
    items = []
    for row in rows:
        tracker = trackers.get((row["source"], row["message_id"] or ""))
        state = None if tracker is None else states.get(tracker)
        names = {
            "tracker_id": None if tracker is None else tracker[1],
            "tracking_number": None if state is None else state["tracking_number"],
            "test_run": runs.get(row["delivery_id"]),
            "origin": origins.get(row["delivery_id"], WEBHOOK),
        }
        items.append({**public(row), **names})
    return items


def _find_trackers(connection: Connection, rows: Iterable[RowMapping]) -> dict[tuple[str, str], tuple[str, str]]:
    """Return the tracker of each message that has one, by source and message id."""
    table = table_of(MessageTable)
    found: dict[tuple[str, str], tuple[str, str]] = {}
    keys = {(row["source"], row["message_id"]) for row in rows if row["message_id"] is not None}
    for source in sorted({source for source, _ in keys}):
        named = table.c.source == source, table.c.message_id.in_([message_id for of, message_id in keys if of == source])
        known = select(table.c.message_id, table.c.tracker_id).where(*named, table.c.tracker_id.is_not(None))
        found |= {(source, row.message_id): (source, row.tracker_id) for row in connection.execute(known)}
    return found
