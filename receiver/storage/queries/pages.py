"""Pages of long lists. A page starts after a key and reads a bounded number of rows; items are counted up to a limit."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, RowMapping, Table, select

from receiver.clock import iso
from receiver.domain.reading import read_id
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


def as_stored(sender_id: str) -> str:
    """Return an id of a sender as rows have it: a long one is stored as its hash. One that no row can have remains."""
    return (read_id(sender_id) or sender_id) if is_storable(sender_id) else sender_id


def in_range(micros: int | None) -> int | None:
    """Return a time in microseconds, or the nearest one that a row can have."""
    return None if micros is None else min(max(micros, 0), _LAST_MOMENT)


class Span(NamedTuple):
    """A range of ids: from `since` (included) to `until` (excluded)."""

    since: str | None = None
    until: str | None = None


_ALL = Span()


def read_by_time(
    connection: Connection,
    table: Table,
    columns: Sequence[ColumnElement[Any]],
    narrow: Sequence[ColumnElement[bool]],
    rest: Mapping[str, object],
    cursor: str | None,
    limit: int,
    span: Span = _ALL,
    complete_to: str | None = None,
    sort: str = "newest",
) -> ResultPage:
    """Return a page of these columns of a table whose `id` sorts by time.

    An index serves the conditions in `narrow`. `rest` has columns and the values that they must equal; it is checked on a bounded
    number of rows. `narrow` may lack rows that are listed after the id `complete_to`, which are left to the next page.
    """
    (after,) = read_cursor(cursor, str) or (None,)
    ids, is_oldest_first = table.c.id, sort == "oldest"
    order, nearer = (ids, min) if is_oldest_first else (ids.desc(), max)
    inside = [*narrow, *_after(ids, span, after, is_oldest_first=is_oldest_first)]
    end = _end_of(ids, span, is_oldest_first=is_oldest_first)
    if rest:
        share = connection.execute(select(ids).where(*inside, *end).order_by(order).offset(_SEEN_ROWS - 1).limit(1)).scalar()
        complete_to = nearer(filter(None, (share, complete_to)), default=None)
    if complete_to is not None and not _is_inside(complete_to, span, is_oldest_first=is_oldest_first):
        complete_to = None
    if complete_to is not None:
        end = [ids <= complete_to if is_oldest_first else ids >= complete_to]
    inside += [*end, *(table.c[name] == value for name, value in rest.items())]
    rows = connection.execute(select(*columns).where(*inside).order_by(order).limit(limit + 1)).mappings().all()
    items = [public(row) for row in rows[:limit]]
    if len(rows) > limit:
        complete_to = rows[limit - 1]["id"]
    return ResultPage(items, None if complete_to is None else write_cursor(complete_to))


def _after(ids: ColumnElement[str], span: Span, after: str | None, *, is_oldest_first: bool) -> list[ColumnElement[bool]]:
    """Return the bound at which a page starts. There is one: an index starts at it, and others would be checked on each row."""
    if is_oldest_first:
        if after is None or after < (span.since or ""):
            return [] if span.since is None else [ids >= span.since]
        return [ids > after]
    until = min(filter(None, (span.until, after)), default=None)
    return [] if until is None else [ids < until]


def _end_of(ids: ColumnElement[str], span: Span, *, is_oldest_first: bool) -> list[ColumnElement[bool]]:
    """Return the bound at which a list ends."""
    if is_oldest_first:
        return [] if span.until is None else [ids < span.until]
    return [] if span.since is None else [ids >= span.since]


def _is_inside(last: str, span: Span, *, is_oldest_first: bool) -> bool:
    """Tell whether a list may go on after an id."""
    return span.until is None or last < span.until if is_oldest_first else last > (span.since or "")
