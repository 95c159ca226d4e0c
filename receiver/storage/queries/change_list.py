"""The list of changes for targets by state, target, source, tracker and time.

Each state of each target is a part of the list and has an order that an index serves: failing changes and delivered ones by time,
all others by tracker. Conditions that no index serves are checked on a bounded number of rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, RowMapping, select, tuple_

from receiver.clock import iso
from receiver.domain.changes import SHIPMENT_MOVE_OFFSET
from receiver.errors import UnexpectedShape
from receiver.storage.database import Database
from receiver.storage.queries.changes import read_holds, show_state
from receiver.storage.queries.pages import ResultPage, in_range, is_storable, read_cursor, write_cursor
from receiver.storage.queries.states import read_states
from receiver.storage.stranded import list_names
from receiver.storage.tables.metadata import Table, table_of
from receiver.storage.tables.outbox import HAS_FAILED, DeadTable, DeliveredTable, DispatchTable

STATES = ("failing", "dead", "waiting", "delivered")
"""The states of changes, in the order of the list."""

STATE_FILTERS = ("not_delivered", *STATES)
"""The filters by state: one state, or all but `delivered`."""

_SEEN_ROWS = 3000  # that one page reads
_PIECE_ROWS = 250  # that one statement reads at least
_KEY = ("source", "tracker_id", "move")
_TABLES: dict[str, type[Table]] = {
    "failing": DispatchTable,
    "dead": DeadTable,
    "waiting": DispatchTable,
    "delivered": DeliveredTable,
}
_TIMES = {"failing": "made_at", "dead": "died_at", "waiting": "made_at", "delivered": "delivered_at"}
_BY_TIME = {"failing", "delivered"}


class ChangeFilter(NamedTuple):
    """The filter of a list of changes: all conditions that are set must hold.

    `state` is one of `STATE_FILTERS`. `since` and `until` are microseconds: when the change was delivered or failed for good, or
    else was queued.
    """

    target: str | None = None
    state: str | None = None
    source: str | None = None
    tracker_id: str | None = None
    since: int | None = None
    until: int | None = None


class _Part(NamedTuple):
    """The changes of one target in one state."""

    state: str
    target: str


class _LastListed(NamedTuple):
    """A row of the list. `at` is its time in parts that are sorted by time, elsewhere 0."""

    part: _Part
    at: int
    key: tuple[str, str, int]


def list_changes(database: Database, wanted: ChangeFilter, limit: int = 50, cursor: str | None = None) -> ResultPage:
    """Return changes for targets: failing ones, oldest first; dead ones; waiting ones; delivered ones, newest first.

    A change that is sent again is listed as waiting and as delivered.
    """
    after = _read_cursor(cursor)
    wanted = wanted._replace(since=in_range(wanted.since), until=in_range(wanted.until))
    if not is_storable(wanted.target, wanted.source, wanted.tracker_id):
        return ResultPage([], None)
    with database.read() as connection:
        rows, last = _read_page(connection, wanted, after, limit)
        trackers = read_states(connection, list({(row["source"], row["tracker_id"]) for _, row in rows}))
        holds = read_holds(connection)
        items = [_show(row, trackers, holds) for _, row in rows]
    return ResultPage(items, None if last is None else write_cursor(*last.part, last.at, *last.key))


def _read_page(
    connection: Connection, wanted: ChangeFilter, after: _LastListed | None, limit: int
) -> tuple[list[tuple[_LastListed, RowMapping]], _LastListed | None]:
    """Return the rows of a page, and the place after which the next one starts (None: there is no next one)."""
    found: list[tuple[_LastListed, RowMapping]] = []
    last, seen = after, 0
    for part in _list_parts(connection, wanted, after):
        matches = _make_check(wanted, part.state)
        for row in _read_part(connection, wanted, part, after, limit):
            if seen == _SEEN_ROWS or (len(found) == limit and matches(row)):
                return found, last
            seen += 1
            last = _LastListed(
                part, row[_TIMES[part.state]] if _is_by_time(wanted, part.state) else 0, (*(row[name] for name in _KEY),)
            )
            if matches(row):
                found.append((last, row))
    return found, None


def _list_parts(connection: Connection, wanted: ChangeFilter, after: _LastListed | None) -> list[_Part]:
    """Return the parts of the list from that of the place on."""
    parts = []
    for state in _list_states(wanted.state):
        names = list_names(connection, table_of(_TABLES[state])) if wanted.target is None else [wanted.target]
        parts += [_Part(state, name) for name in sorted(names)]

    def rank(part: _Part) -> tuple[int, str]:
        return STATES.index(part.state), part.target

    return [part for part in parts if after is None or rank(part) >= rank(after.part)]


def _list_states(state: str | None) -> Sequence[str]:
    if state == "not_delivered":
        return [one for one in STATES if one != "delivered"]
    return STATES if state is None else (state,)


def _is_by_time(wanted: ChangeFilter, state: str) -> bool:
    """Tell whether a part is sorted by time. The few changes of one tracker are read by its key."""
    return state in _BY_TIME and wanted.tracker_id is None


def _read_part(
    connection: Connection, wanted: ChangeFilter, part: _Part, after: _LastListed | None, limit: int
) -> Iterator[RowMapping]:
    """Yield the rows of a part after the place, in pieces."""
    table, time = table_of(_TABLES[part.state]), _TIMES[part.state]
    is_by_time, is_descending = _is_by_time(wanted, part.state), part.state == "delivered"
    columns = [table.c[name] for name in ((time, *_KEY) if is_by_time else _KEY)]
    narrow = _narrow(wanted, part, is_by_time=is_by_time)
    place = (after.at, *after.key) if is_by_time and after is not None else after.key if after is not None else None
    if after is not None and after.part != part:
        place = None
    size = max(_PIECE_ROWS, limit + 1)
    while True:
        statement = select(table).where(*narrow)
        if place is not None:
            key = tuple_(*columns)
            statement = statement.where(key < place if is_descending else key > place)
        statement = statement.order_by(*(column.desc() if is_descending else column for column in columns)).limit(size)
        rows = connection.execute(statement).mappings().all()
        yield from rows
        if len(rows) < size:
            return
        place = tuple(rows[-1][column.name] for column in columns)


def _narrow(wanted: ChangeFilter, part: _Part, *, is_by_time: bool) -> list[Any]:
    """Return the conditions that an index serves."""
    table = table_of(_TABLES[part.state])
    narrow: list[Any] = [table.c.target == part.target]
    if part.state == "failing":
        narrow.append(HAS_FAILED)
    if is_by_time:
        return narrow + _within(table.c[_TIMES[part.state]], wanted)
    if wanted.source is not None:
        narrow.append(table.c.source == wanted.source)
        if wanted.tracker_id is not None:
            narrow.append(table.c.tracker_id == wanted.tracker_id)
    return narrow


def _within(time: ColumnElement[int], wanted: ChangeFilter) -> list[ColumnElement[bool]]:
    since = [] if wanted.since is None else [time >= wanted.since]
    return since if wanted.until is None else [*since, time < wanted.until]


def _make_check(wanted: ChangeFilter, state: str) -> Callable[[RowMapping], bool]:
    """Return the check of a row for all conditions."""
    time = _TIMES[state]

    def matches(row: RowMapping) -> bool:
        return (
            (state != "waiting" or row["error"] is None)
            and wanted.source in (None, row["source"])
            and wanted.tracker_id in (None, row["tracker_id"])
            and (wanted.since is None or row[time] >= wanted.since)
            and (wanted.until is None or row[time] < wanted.until)
        )

    return matches


def _show(row: RowMapping, trackers: Mapping[tuple[str, str], RowMapping], holds: Mapping[str, str]) -> dict[str, Any]:
    of_shipment = row["move"] > SHIPMENT_MOVE_OFFSET
    tracker = trackers.get((row["source"], row["tracker_id"]))
    return {
        "source": row["source"],
        "tracker_id": row["tracker_id"],
        "tracking_number": None if tracker is None else tracker["tracking_number"],
        "basis": "shipment" if of_shipment else "events",
        "sequence": row["move"] - (SHIPMENT_MOVE_OFFSET if of_shipment else 0),
        "queued_at": iso(row["made_at"]) if "made_at" in row else None,
        **show_state(row, holds),
    }


def _read_cursor(cursor: str | None) -> _LastListed | None:
    key = read_cursor(cursor, str, str, int, str, str, int)
    if key is None:
        return None
    if key[0] not in STATES:
        raise UnexpectedShape("cursor: expected the value of `next` of the page before.")
    return _LastListed(_Part(key[0], key[1]), key[2], key[3:])
