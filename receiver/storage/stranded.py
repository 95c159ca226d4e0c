"""Stranded changes, which wait for a target that is stopped or no longer in the settings. They are pruned by age.

Changes for a target that an operator paused are not stranded.
"""

import json
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, delete, func, select, tuple_

from receiver.domain.retention import PruneBatch
from receiver.storage.blocking import unblock
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import ProcessTable
from receiver.storage.tables.outbox import IS_ROW, DispatchTable, StoppedTable, row_keys


class _Progress(NamedTuple):
    """The progress of a run: the key of the last checked change."""

    target: str = ""
    source: str = ""
    tracker_id: str = ""
    move: int = 0


def prune_stranded(
    connection: Connection, running: Collection[str], cutoff: int, size: int, reached: str
) -> tuple[PruneBatch, str]:
    """Remove changes made before `cutoff` that wait for a stopped target, or for one that neither `running` nor a process names.

    Check the next `size` changes of one such target, in the order of their keys, from `reached` on (the progress as JSON, or
    empty). Return the result and the new progress.
    """
    last = _Progress(*json.loads(reached)) if reached else _Progress()
    targets = [name for name in sorted(find_stranded(connection, running)) if name >= last.target]
    if not targets:
        return PruneBatch(0, 0, 0, more=False), ""
    if targets[0] != last.target:
        last = _Progress(targets[0])
    rows = table_of(DispatchTable)
    key = rows.c.source, rows.c.tracker_id, rows.c.move
    following = select(*key, rows.c.made_at).where(rows.c.target == last.target, tuple_(*key) > last[1:]).order_by(*key)
    found = connection.execute(following.limit(size)).all()
    old = [row_keys(last.target, *row[:3]) for row in found if row.made_at < cutoff]
    gone = _remove(connection, cutoff, old) if old else 0
    if len(found) == size:
        after: _Progress | None = _Progress(last.target, *found[-1][:3])
    else:
        after = _Progress(targets[1]) if len(targets) > 1 else None
    return PruneBatch(gone, 0, len(found), more=after is not None), json.dumps(after) if after else ""


def find_stranded(connection: Connection, running: Collection[str]) -> set[str]:
    """Return the targets with waiting changes that no process delivers.

    A target that any recorded process knows is not stranded, whatever the settings of this process say.
    """
    stops = table_of(StoppedTable)
    stopped = set(connection.execute(select(stops.c.target).where(stops.c.is_paused.is_(False))).scalars())
    listed = connection.execute(select(table_of(ProcessTable).c.targets)).scalars()
    known = {*running, *(name for names in listed for name in json.loads(names))}
    return {name for name in list_names(connection, table_of(DispatchTable)) if name in stopped or name not in known}


def list_names(connection: Connection, table: Table) -> Iterator[str]:
    """Yield the targets in a table. Each may have very many rows, so the query jumps from one target to the next."""
    name = connection.execute(select(func.min(table.c.target))).scalar()
    while name is not None:
        yield name
        name = connection.execute(select(func.min(table.c.target)).where(table.c.target > name)).scalar()


def _remove(connection: Connection, cutoff: int, keys: list[dict[str, Any]]) -> int:
    """Remove changes, and make the next ones of their trackers due: the target may be served again."""
    rows = table_of(DispatchTable)
    gone = connection.execute(delete(rows).where(IS_ROW), sorted(keys, key=lambda key: tuple(key.values()))).rowcount
    unblock(connection, cutoff, keys)
    return int(gone)
