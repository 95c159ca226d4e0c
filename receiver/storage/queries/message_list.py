"""The list of messages: every item of the deliveries with its verdict, newest delivery first.

An item has a row among the messages, or, as a further copy or without an id, among the repeated messages. A page walks along both
tables by delivery and checks its filter on a bounded number of rows, so its cost does not depend on the size of the tables.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, Table, and_, or_, select

from receiver.clock import first_id
from receiver.domain.records import WEBHOOK
from receiver.storage.database import Database
from receiver.storage.queries.copies import read_copies
from receiver.storage.queries.numbers import find_messages_of
from receiver.storage.queries.pages import ResultPage, in_range, is_storable, public, read_cursor, write_cursor
from receiver.storage.queries.states import read_states
from receiver.storage.tables.ledger import IS_BROUGHT_IN, IS_TEST, DeliveryTable, MessageTable, RepeatedMessageTable
from receiver.storage.tables.metadata import table_of

NOT_APPLIED = "not_applied"
"""The filter for messages that had no effect: neither applied nor an exact copy of a known message."""

_SEEN_ROWS = 1500  # of each table, that one page reads if there is a filter
_MAX_COPIES = 1000  # of the messages for one number, that one page reads
_LAST = ("z", 0)  # after every key, in every order of texts: ids are hexadecimal
_NAMES = ("source", "message_id", "outcome", "reason", "delivery_id", "position", "received_at")

_Key = tuple[str, int]
"""The key of an item: delivery id and position."""


class MessageFilter(NamedTuple):
    """The filter of a list of messages: all conditions that are set must hold.

    `outcome` is one of `verdicts.OUTCOMES` or NOT_APPLIED. `since` (included) and `until` (excluded) are microseconds.
    """

    source: str | None = None
    outcome: str | None = None
    reason: str | None = None
    since: int | None = None
    until: int | None = None
    tracking_number: str | None = None
    test: bool | None = None

    def matches(self, row: RowMapping) -> bool:
        """Tell whether a row matches, apart from its time, number and test run."""
        if self.outcome == NOT_APPLIED:
            is_wanted = row["outcome"] != "applied" and (row["outcome"], row["reason"]) != ("duplicate", None)
        else:
            is_wanted = self.outcome in {None, row["outcome"]}
        return is_wanted and self.source in {None, row["source"]} and self.reason in {None, row["reason"]}

    @property
    def is_checked(self) -> bool:
        """Tell whether rows are read that the filter may exclude."""
        return any(value is not None for value in (self.source, self.outcome, self.reason, self.test))


class _Walk(NamedTuple):
    """A part of the list: its rows, and the key from which on they are complete (None: to the end of the list)."""

    rows: Sequence[RowMapping]
    complete_from: _Key | None


def list_messages(database: Database, wanted: MessageFilter, limit: int = 50, cursor: str | None = None) -> ResultPage:
    """Return messages with their verdicts, newest delivery first.

    `tracker_id` and `tracking_number` are those of the message's first arrival; both are None if no tracker is known.
    """
    before = read_cursor(cursor, str, int) or _LAST
    if not is_storable(wanted.source, wanted.reason, wanted.tracking_number):
        return ResultPage([], None)
    since, until = (None if micros is None else first_id(micros) for micros in map(in_range, (wanted.since, wanted.until)))
    if until is not None and until <= before[0]:
        before = (until, 0)
    with database.read() as connection:
        walk = _follow_number if wanted.tracking_number is not None else _follow_time
        rows, complete_from = walk(connection, wanted, before, limit)
        low = max(("" if since is None else since, 0), complete_from or ("", 0))
        runs = _read_test_runs(connection, low[0], before[0])
        found = [row for row in rows if low <= _key(row) < before and wanted.matches(row)]
        if wanted.test is not None:
            found = [row for row in found if (row["delivery_id"] in runs) is wanted.test]
        found.sort(key=_key, reverse=True)
        items = _describe(connection, found[:limit], runs)
    if len(found) > limit:
        return ResultPage(items, write_cursor(*_key(found[limit - 1])))
    is_last = complete_from is None or complete_from <= (since or "", 0)
    return ResultPage(items, None if is_last or complete_from is None else write_cursor(*complete_from))


def _key(row: RowMapping) -> _Key:
    return row["delivery_id"], row["position"]


def _follow_time(connection: Connection, wanted: MessageFilter, before: _Key, limit: int) -> _Walk:
    """Read the next rows of both tables. The filter is not part of the statement, so that an index on time serves every one."""
    size = _SEEN_ROWS if wanted.is_checked else limit + 1
    rows: list[RowMapping] = []
    complete_from: list[_Key] = []
    for table in (table_of(MessageTable), table_of(RepeatedMessageTable)):
        place = table.c.delivery_id, table.c.position
        inside = and_(place[0] <= before[0], or_(place[0] < before[0], place[1] < before[1]))
        newest = select(*_columns(table)).where(inside).order_by(*(column.desc() for column in place)).limit(size)
        found = connection.execute(newest).mappings().all()
        rows += found
        if len(found) == size:
            complete_from.append(_key(found[-1]))
    return _Walk(rows, max(complete_from, default=None))


def _follow_number(connection: Connection, wanted: MessageFilter, before: _Key, limit: int) -> _Walk:
    """Read the last messages for a number, and their copies."""
    table = table_of(MessageTable)
    rows: list[RowMapping] = []
    complete_from: list[_Key] = []
    end = (
        f"{before[0]}0" if before[1] else before[0]
    )  # all ids have the same length; with a position, its delivery has items left
    for source, ids in find_messages_of(connection, wanted.tracking_number or "").items():
        named = table.c.source == source, table.c.message_id.in_(ids)
        rows += connection.execute(select(*_columns(table)).where(*named)).mappings().all()
        share = max(limit + 1, _MAX_COPIES // max(1, len(ids)))
        copies, first = read_copies(connection, _NAMES, source, ids, share, end)
        rows += copies
        complete_from += [] if first is None else [(first, 0)]
    return _Walk(rows, max(complete_from, default=None))


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
