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
_SEEN_ROWS = 5000  # what one page looks at when a filter has no index of its own

_INTERNAL = {"moved_at", "version", "digest", "latest_digest", "snapshot_generated_at", "snapshot_message_id", "shipment"}


class Page(NamedTuple):
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
    return {
        str(name): iso(value) if name.endswith("_at") and value is not None else value
        for name, value in row.items()
        if name not in _INTERNAL
    }


def read_newest(
    connection: Connection,
    table: Table,
    columns: Sequence[ColumnElement[Any]],
    narrow: Sequence[ColumnElement[bool]],
    rest: Mapping[str, object],
    cursor: str | None,
    limit: int,
) -> Page:
    """Return a page of these columns of a table whose `id` sorts by time, newest first.

    An index serves `narrow`; `rest`, columns and what they must equal, is asked of a bounded number of rows.
    """
    key = read_cursor(cursor, str)
    behind = [*narrow, table.c.id < key[0]] if key else [*narrow]
    if not rest:
        rows = connection.execute(select(*columns).where(*behind).order_by(table.c.id.desc()).limit(limit + 1)).mappings().all()
        return Page([public(row) for row in rows[:limit]], write_cursor(rows[limit - 1]["id"]) if len(rows) > limit else None)
    seen = select(*columns).where(*behind).order_by(table.c.id.desc()).limit(_SEEN_ROWS).subquery()
    wanted = [seen.c[name] == value for name, value in rest.items()]
    rows = connection.execute(select(seen).where(*wanted).order_by(seen.c.id.desc()).limit(limit + 1)).mappings().all()
    if len(rows) > limit:
        return Page([public(row) for row in rows[:limit]], write_cursor(rows[limit - 1]["id"]))
    ids = select(table.c.id).where(*behind).order_by(table.c.id.desc())
    last_seen = connection.execute(ids.offset(_SEEN_ROWS - 1).limit(1)).scalar()
    return Page([public(row) for row in rows], None if last_seen is None else write_cursor(last_seen))
