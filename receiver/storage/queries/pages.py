"""Pages of long lists. A page starts after a key and reads a bounded number of rows; items are counted up to a limit."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, RowMapping, Table, select

from receiver.clock import iso
from receiver.errors import UnexpectedShape

MAX_LIMIT = 200
SORTS = ("newest", "oldest")
"""What may come first in a list by time. The same cursors serve both."""

_MAX_COUNT = 1000
_COUNTED_PAGES = 6
_SEEN_ROWS = 3000  # rows that one page reads if no index serves the filter

_LAST_MOMENT = 253_402_300_799_999_999  # of the year 9999
_PUBLIC_NAMES = {"move": "sequence", "moves": "changes"}
_INTERNAL = {
    *("moved_at", "version", "digest", "latest_digest", "snapshot_generated_at", "snapshot_message_id", "shipment"),
    *("generated_at", "stands_by", "shipment_moves", "manifest_completed"),
}


class ResultPage(NamedTuple):
    """Some items of a list. `next` is the cursor of the next page, None at the end.

    A page may be shorter than asked for, even empty, and yet not be the last one: it has read its share of rows.
    """

    items: list[dict[str, Any]]
    next: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the page as the API shows it."""
        return self._asdict()


class Total(NamedTuple):
    """The number of items of a list, or of those that were counted."""

    items: int
    is_complete: bool


def count_items(read: Callable[[int, str | None], ResultPage], first: ResultPage) -> Total:
    """Count the items of a list whose first page is known: at most a thousand, in a bounded number of pages."""
    number, cursor = len(first.items), first.next
    for _ in range(_COUNTED_PAGES):
        if cursor is None or number > _MAX_COUNT:
            break
        page = read(MAX_LIMIT, cursor)
        number, cursor = number + len(page.items), page.next
    return Total(min(number, _MAX_COUNT), cursor is None and number <= _MAX_COUNT)


def write_cursor(*key: str | int) -> str:
    """Return the cursor of the page that starts after `key`."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def read_cursor(cursor: str | None, *kinds: type) -> tuple[Any, ...] | None:
    """Return the key in a cursor, None for the first page. Raises UnexpectedShape for an invalid cursor.

    `kinds` are the types of the parts of the key.
    """
    if cursor is None:
        return None
    try:
        key = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        key = None
    if not isinstance(key, list) or [type(part) for part in key] != list(kinds) or _is_outside(key):
        raise UnexpectedShape("cursor: expected the value of `next` of the page before.")
    return tuple(key)


def _is_outside(key: list[Any]) -> bool:
    return any(not 0 <= part < 2**63 if isinstance(part, int) else "\0" in part for part in key)


def public(row: RowMapping) -> dict[str, Any]:
    """Return a row as the API shows it: our times as ISO 8601 UTC, a courier's times as written, no internal columns."""
    shown = {
        _PUBLIC_NAMES.get(name, str(name)): iso(value) if name.endswith("_at") and value is not None else value
        for name, value in row.items()
        if name not in _INTERNAL
    }
    if "superseded" in shown:
        shown["superseded"] = bool(shown["superseded"])
    if "shipment_milestone" in shown:
        views = (shown["shipment_milestone"], shown["status_milestone"])
        shown["milestone_differs"] = None not in views and views[0] != views[1]
    return shown


def is_storable(*texts: str | None) -> bool:
    """Tell whether a database can store these texts. It stores no NUL and no half of a surrogate pair, so no row equals those."""
    return not any("\0" in text or any("\ud800" <= character <= "\udfff" for character in text) for text in texts if text)


def in_range(micros: int | None) -> int | None:
    """Return a time in microseconds, or the nearest one that a row can have."""
    return None if micros is None else min(max(micros, 0), _LAST_MOMENT)


class Span(NamedTuple):
    """A range of ids: from `since` (included) to `until` (excluded)."""

    since: str | None = None
    until: str | None = None


_ALL = Span()


def read_newest(
    connection: Connection,
    table: Table,
    columns: Sequence[ColumnElement[Any]],
    narrow: Sequence[ColumnElement[bool]],
    rest: Mapping[str, object],
    cursor: str | None,
    limit: int,
    span: Span = _ALL,
    complete_from: str | None = None,
) -> ResultPage:
    """Return a page of these columns of a table whose `id` sorts by time, newest first.

    An index serves the conditions in `narrow`. `rest` has columns and the values that they must equal; it is checked on a bounded
    number of rows. `narrow` may lack rows with ids before `complete_from`, which are left to the next page.
    """
    inside = [*narrow]
    until = min(filter(None, (span.until, *(read_cursor(cursor, str) or ()))), default=None)
    if until is not None:  # one bound: an index starts at one, and further ones would be checked on each row
        inside.append(table.c.id < until)
    if rest:
        share = select(table.c.id).where(*inside, *_from(table, span.since)).order_by(table.c.id.desc()).offset(_SEEN_ROWS - 1)
        complete_from = max(filter(None, (complete_from, connection.execute(share.limit(1)).scalar())), default=None)
    inside += [table.c[name] == value for name, value in rest.items()]
    inside += _from(table, max(filter(None, (span.since, complete_from)), default=None))
    rows = connection.execute(select(*columns).where(*inside).order_by(table.c.id.desc()).limit(limit + 1)).mappings().all()
    items = [public(row) for row in rows[:limit]]
    if len(rows) > limit:
        return ResultPage(items, write_cursor(rows[limit - 1]["id"]))
    is_last = complete_from is None or complete_from <= (span.since or "")
    return ResultPage(items, None if is_last else write_cursor(complete_from or ""))


def read_oldest(
    connection: Connection,
    table: Table,
    columns: Sequence[ColumnElement[Any]],
    narrow: Sequence[ColumnElement[bool]],
    rest: Mapping[str, object],
    cursor: str | None,
    limit: int,
    span: Span = _ALL,
    complete_to: str | None = None,
) -> ResultPage:
    """Return a page as `read_newest` does, oldest first. `narrow` may lack rows with ids after `complete_to`."""
    (after,) = read_cursor(cursor, str) or ("",)
    ids = table.c.id
    inside = [*narrow, ids > after if span.since is None or after >= span.since else ids >= span.since]
    last = complete_to  # of the rows that this page checks
    if rest:
        share = connection.execute(select(ids).where(*inside).order_by(ids).offset(_SEEN_ROWS - 1).limit(1)).scalar()
        last = min(filter(None, (share, complete_to)), default=None)
    is_cut = last is not None and (span.until is None or last < span.until)
    inside += [ids <= last] if is_cut else [] if span.until is None else [ids < span.until]
    inside += [table.c[name] == value for name, value in rest.items()]
    rows = connection.execute(select(*columns).where(*inside).order_by(ids).limit(limit + 1)).mappings().all()
    items = [public(row) for row in rows[:limit]]
    if len(rows) > limit:
        return ResultPage(items, write_cursor(rows[limit - 1]["id"]))
    return ResultPage(items, write_cursor(last) if is_cut and last is not None else None)


def _from(table: Table, since: str | None) -> list[ColumnElement[bool]]:
    return [] if since is None else [table.c.id >= since]
