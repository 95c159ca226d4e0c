"""Changes of stopped or removed targets are deleted after RECEIVER_CHANGE_RETENTION_DAYS."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from receiver.domain.outbox_rows import DispatchRow
from receiver.domain.processes import ProcessRow
from receiver.domain.retention import PruneRun, Removed
from receiver.storage.processes import note_processes
from receiver.storage.retention import count_prunable
from receiver.storage.statements import Insert
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import BLOCKED, DispatchTable
from receiver.writer.commands.changes import ResumeTarget, StopTarget
from receiver.writer.commands.removal import ClaimPruning, Prune, ReleasePruning
from tests.harness.command import run_command
from tests.harness.service import environment
from tests.harness.storage import make_tables
from tests.harness.store import Store, opened

EDGE = 1_740_823_200_000_000
OLD = EDGE - 1
NOW = EDGE + 2_592_000_000_000
RUNNING = ["shop", "stopped"]


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    make_tables(database_url)
    with opened(database_url) as made:
        yield made


def waits(target: str, tracker: str, move: int, made_at: int, due_at: int | None = None) -> DispatchRow:
    return DispatchRow(target, "ship24", tracker, move, "e", made_at if due_at is None else due_at, 0, None, None, made_at)


GO = (
    waits("removed", "a", 1, OLD),
    waits("removed", "a", 2, OLD, BLOCKED),
    waits("removed", "b", 1, OLD, NOW),
    waits("stopped", "a", 1, OLD),
    waits("stopped", "c", 4, OLD - 5, BLOCKED),
    waits("zz removed too", "a", 1, OLD),
)
STAY = (
    waits("removed", "c", 1, EDGE),
    waits("removed", "c", 2, EDGE, BLOCKED),
    waits("shop", "a", 1, OLD),
    waits("shop", "a", 2, OLD, BLOCKED),
    waits("stopped", "z", 1, EDGE),
)
NEXT = (waits("removed", "a", 3, EDGE, BLOCKED), waits("stopped", "a", 2, EDGE, BLOCKED))
"""Those that come due as the first of their trackers go."""


def put(store: Store, rows: Collection[DispatchRow]) -> None:
    insert = Insert(store.database, table_of(DispatchTable), DispatchRow)
    store.transactions.run(lambda connection: insert.execute(connection, [*rows]))
    store.executor.do(StopTarget("stopped", OLD, "410"))


def left(store: Store) -> dict[DispatchRow, int]:
    rows = store.transactions.run(lambda connection: connection.execute(table_of(DispatchTable).select()).all())
    known = {row[:4]: row for row in (*GO, *STAY, *NEXT)}
    return {known[tuple(row[:4])]: row.due_at for row in rows}


def prune(store: Store, size: int, running: list[str] | None) -> tuple[Removed, int]:
    """Prune to the end; return the deleted rows and bytes, and the most rows of one step."""
    most = 0
    store.executor.do(ClaimPruning("mark", NOW))
    run = PruneRun({"dead_changes": EDGE}, running)
    while (order := run.next_step()) is not None:
        done = store.executor.do(Prune("mark", NOW, order._replace(size=size)))
        most = max(most, done.units)
        run.record(done)
    store.executor.do(ReleasePruning("mark"))
    return run.removed["dead_changes"], most


@pytest.mark.parametrize("size", [1, 2, 3, 500])
def test_stranded_changes_are_deleted_by_age_and_those_behind_them_come_due(store: Store, size: int) -> None:
    put(store, [*GO, *STAY, *NEXT])
    assert count_prunable(store.database, {"dead_changes": EDGE}, RUNNING) == {"dead_changes": Removed(len(GO))}
    removed, most = prune(store, size, RUNNING)
    assert (removed.rows, most <= size) == (len(GO), True)
    expected = {row: row.due_at for row in STAY} | dict.fromkeys(NEXT, EDGE)
    assert left(store) == expected
    assert prune(store, size, RUNNING)[0] == Removed(), "and each round begins anew"


def test_where_it_is_not_said_who_is_served_nothing_that_waits_goes(store: Store) -> None:
    put(store, GO)
    assert count_prunable(store.database, {"dead_changes": EDGE}) == {"dead_changes": Removed()}
    assert prune(store, 500, None)[0] == Removed()
    assert len(left(store)) == len(GO)


def test_what_waits_for_a_target_that_only_another_process_knows_stays(store: Store) -> None:
    put(store, [*GO, *STAY, *NEXT])
    knows = ProcessRow("there", "relay", "elsewhere", 1, "0", OLD, OLD, ("removed",))
    store.transactions.run(lambda connection: note_processes(store.database, connection, [knows]))
    stay = [row for row in GO if row.target == "removed"]
    assert count_prunable(store.database, {"dead_changes": EDGE}, RUNNING) == {"dead_changes": Removed(len(GO) - len(stay))}
    prune(store, 2, RUNNING)
    assert {row for row in GO if row in left(store)} == set(stay)


def test_a_target_that_is_served_again_keeps_what_waits(store: Store) -> None:
    put(store, [*GO, *STAY])
    store.executor.do(ResumeTarget("stopped"))
    prune(store, 2, ["shop", "stopped", "removed", "zz removed too"])
    assert len(left(store)) == len(GO) + len(STAY)


def test_the_command_counts_and_removes_what_waits_for_targets_that_the_settings_do_not_name(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    put(store, [*GO, *STAY])
    store.close()
    everything = len(GO) + len(STAY)  # all of it is from last year, and there are no targets

    def ask(*options: str) -> tuple[int, int]:
        done = run_command("prune", "--json", *options, cwd=tmp_path, env=environment(database_url))
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        return told["before"]["rows"]["dead_changes"], told["removed"]["dead_changes"]["rows"]

    assert [ask("--dry-run"), ask(), ask()] == [(everything, everything), (everything, everything), (0, 0)]
