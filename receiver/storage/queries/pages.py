"""Pages of long lists: each begins behind a key, none is counted, and none looks at more than a bounded number of rows."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, RowMapping, Table, select

from receiver.clock import iso
from receiver.errors import UnexpectedShape

MAX_LIMIT = 200
_SEEN_ROWS = 3000  # what one page looks at when a filter has no index of its own

_LAST_MOMENT = 253_402_300_799_999_999  # of the year 9999
_INTERNAL = {
    *("moved_at", "version", "digest", "latest_digest", "snapshot_generated_at", "snapshot_message_id", "shipment"),
    *("generated_at", "stands_by", "shipment_moves"),
}


class ResultPage(NamedTuple):
    """Some items of a list; `next` is the cursor of the page behind them, None at the end.

    A page may be shorter than asked for, or empty, and not be the last: then its share of rows was looked at.
    """

    items: list[dict[str, Any]]
    next: str | None

    def as_json(self) -> dict[str, Any]:
        """Return it as the API answers it."""
        return self._asdict()


def write_cursor(*key: str | int) -> str:
    """Return the cursor of the page that begins behind `key`."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def read_cursor(cursor: str | None, *kinds: type) -> tuple[Any, ...] | None:
    """Return the key in a cursor, None for the first page. Raises UnexpectedShape for what is none of ours."""
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
    """Return a row for people and programs: our times as ISO 8601 UTC, a courier's as written; nothing internal."""
    shown = {
        str(name): iso(value) if name.endswith("_at") and value is not None else value
        for name, value in row.items()
        if name not in _INTERNAL
    }
    if "superseded" in shown:
        shown["superseded"] = bool(shown["superseded"])
    if "shipment_milestone" in shown:
        views = (shown["shipment_milestone"], shown["status_milestone"])
        shown["milestone_differs"] = None not in views and views[0] != views[1]
    return shown


def is_keepable(*values: str | None) -> bool:
    """Tell whether a database can hold these texts. None holds NUL or half of a surrogate pair: nothing that is kept is equal."""
    return not any("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value) for value in values if value)


def in_range(micros: int | None) -> int | None:
    """Return a moment, or the nearest one that a row can carry."""
    return None if micros is None else min(max(micros, 0), _LAST_MOMENT)


class Span(NamedTuple):
    """Which ids are wanted: from `since` on, before `until`."""

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
    edge: str | None = None,
) -> ResultPage:
    """Return a page of these columns of a table whose `id` sorts by time, newest first.

    An index serves `narrow`; `rest`, columns and what they must equal, is asked of a bounded number of rows. Behind `edge`,
    `narrow` is not complete: that is left to the next page.
    """
    inside = [*narrow]
    until = min(filter(None, (span.until, *(read_cursor(cursor, str) or ()))), default=None)
    if until is not None:  # one bound: an index begins at one only, and the others would be asked of each row
        inside.append(table.c.id < until)
    if rest:
        share = select(table.c.id).where(*inside, *_from(table, span.since)).order_by(table.c.id.desc()).offset(_SEEN_ROWS - 1)
        edge = max(filter(None, (edge, connection.execute(share.limit(1)).scalar())), default=None)
    inside += [table.c[name] == value for name, value in rest.items()]
    inside += _from(table, max(filter(None, (span.since, edge)), default=None))
    rows = connection.execute(select(*columns).where(*inside).order_by(table.c.id.desc()).limit(limit + 1)).mappings().all()
    items = [public(row) for row in rows[:limit]]
    if len(rows) > limit:
        return ResultPage(items, write_cursor(rows[limit - 1]["id"]))
    return ResultPage(items, None if edge is None or edge <= (span.since or "") else write_cursor(edge))


def _from(table: Table, since: str | None) -> list[ColumnElement[bool]]:
    return [] if since is None else [table.c.id >= since]
