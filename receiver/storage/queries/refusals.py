"""Rejected deliveries of a window, summed up by source, code and cause; POSTs to unknown paths."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, select

from receiver.clock import first_id, iso
from receiver.domain.refusals import describe_cause
from receiver.storage.database import Database
from receiver.storage.tables.ledger import NOT_ACCEPTED, DeliveryTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import UnknownPathTable

_LOOKED_AT = 2000  # rejected deliveries, the last ones of the window, whose causes are counted

Counted = tuple[str, str, str, int]
"""Source, outcome, code and number of deliveries."""


def sum_refusals(connection: Connection, counted: Iterable[Counted], since: int, until: int) -> list[dict[str, Any]]:
    """Return the rejected deliveries between two times in microseconds by source, code and cause, the latest first.

    `share` is their part of all deliveries of the source, which `counted` has. `detail`, `latest_at` and `latest_id` are of the
    latest one. Deliveries that were only counted, because too many came, have no cause and no latest one. Tests do not count.
    """
    totals: defaultdict[str, int] = defaultdict(int)
    left: defaultdict[tuple[str, str], int] = defaultdict(int)
    for source, outcome, code, number in counted:
        totals[source] += number
        if outcome == "refused":
            left[source, code] += number
    found: defaultdict[tuple[str, str, str | None], list[Row[Any]]] = defaultdict(list)
    for row in _read_latest(connection, since, until):
        found[row.source, row.code, row.cause].append(row)
        left[row.source, row.code] -= 1
    recorded = [_describe(*key, len(rows), totals[key[0]], rows[0]) for key, rows in found.items()]
    return recorded + [_describe(*key, None, number, totals[key[0]], None) for key, number in left.items() if number > 0]


def list_unknown_paths(database: Database, since: int) -> list[dict[str, Any]]:
    """Return the unknown paths that were posted to since a time in microseconds, the last one first.

    `path` and `nearest` are None for all paths that resemble none of ours. `requests` are all since `first_at`.
    """
    table = table_of(UnknownPathTable)
    used = select(table).where(table.c.last_at >= since).order_by(table.c.last_at.desc(), table.c.path)
    with database.read() as connection:
        rows = connection.execute(used).all()
    return [
        {
            "path": row.path or None,
            "nearest": row.nearest or None,
            "requests": row.requests,
            "first_at": iso(row.first_at),
            "last_at": iso(row.last_at),
        }
        for row in rows
    ]


def _read_latest(connection: Connection, since: int, until: int) -> list[Row[Any]]:
    table = table_of(DeliveryTable)
    columns = [table.c[name] for name in ("id", "source", "code", "cause", "note", "received_at")]
    window = table.c.id >= first_id(since), table.c.id < first_id(until)
    rejected = NOT_ACCEPTED, *window, table.c.outcome == "refused", table.c.test_run.is_(None)
    return list(connection.execute(select(*columns).where(*rejected).order_by(table.c.id.desc()).limit(_LOOKED_AT)))


def _describe(source: str, code: str, cause: str | None, number: int, total: int, latest: Row[Any] | None) -> dict[str, Any]:
    detail = None if latest is None else latest.note
    return {
        "source": source,
        "code": code,
        "cause": cause,
        "detail": detail,
        "advice": describe_cause(source, cause or code, detail),
        "deliveries": number,
        "share": round(number / max(total, number), 4),
        "latest_at": None if latest is None else iso(latest.received_at),
        "latest_id": None if latest is None else latest.id,
    }
