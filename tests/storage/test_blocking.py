"""Changes that are blocked with nothing before them come due again, whoever removed the one before."""

from collections.abc import Iterator, Sequence

import pytest

from receiver.domain.outbox_rows import DispatchRow
from receiver.storage.blocking import OrphanSearch
from receiver.storage.statements import Insert
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import BLOCKED, DispatchTable
from receiver.writer.commands.deliveries import Tidy
from tests.harness.storage import make_tables
from tests.harness.store import Store, opened

NOW = 1_740_823_200_000_000
LATER = NOW + 3_600_000_000

Due = dict[tuple[str, str, str, int], int]


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    make_tables(database_url)
    with opened(database_url) as made:
        yield made


def waits(
    tracker: str, move: int, due_at: int, target: str = "shop", source: str = "ship24", claim: str | None = None
) -> DispatchRow:
    return DispatchRow(target, source, tracker, move, "e", due_at, 0, claim, None, NOW)


def put(store: Store, rows: Sequence[DispatchRow]) -> None:
    insert = Insert(store.database, table_of(DispatchTable), DispatchRow)
    store.transactions.run(lambda connection: insert.execute(connection, rows))


def due(store: Store) -> Due:
    rows = table_of(DispatchTable)
    found = store.transactions.run(lambda connection: connection.execute(rows.select()).all())
    return {(row.target, row.source, row.tracker_id, row.move): row.due_at for row in found}


def search(store: Store, orphans: OrphanSearch, limit: int = 2_000) -> int:
    return store.transactions.run(lambda connection: orphans.unblock(connection, NOW, limit))


STAYS = (
    waits("failed", 1, LATER),
    waits("failed", 2, BLOCKED),
    waits("claimed", 1, LATER, claim="relay.1"),
    waits("claimed", 2, BLOCKED),
    waits("claimed", 3, BLOCKED),
    waits("due", 1, NOW - 5),
    waits("due", 2, BLOCKED),
    waits("dated ahead", 1, BLOCKED - 1),
)
ORPHANS = (
    waits("alone", 7, BLOCKED),
    waits("many", 3, BLOCKED),
    waits("failed", 3, BLOCKED, target="other"),
    waits("failed", 3, BLOCKED, source="shiipp"),
    waits("Ünïcode \U0001f4e6", 3, BLOCKED),
    waits("zz last", 3, BLOCKED),
)
BEHIND = (waits("many", 4, BLOCKED), waits("many", 5, NOW), waits("zz last", 4, BLOCKED))


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 2_000])
def test_a_change_blocked_behind_nothing_comes_due_and_nothing_else_changes(store: Store, limit: int) -> None:
    everything = [*STAYS, *ORPHANS, *BEHIND]
    put(store, everything)
    orphans = OrphanSearch()
    found = sum(search(store, orphans, limit) for _ in range(2 * len(everything)))
    assert found == len(ORPHANS)
    assert due(store) == {row[:4]: NOW if row in ORPHANS else row.due_at for row in everything}


def test_after_the_last_change_the_search_begins_again(store: Store) -> None:
    orphans = OrphanSearch()
    assert search(store, orphans) == 0
    put(store, [waits("a", 1, BLOCKED), waits("b", 1, LATER)])
    assert [search(store, orphans, 1) for _ in range(3)] == [1, 0, 0]
    put(store, [waits("0", 1, BLOCKED)])
    assert [search(store, orphans, 1), search(store, orphans, 1)] == [1, 0]


def test_a_tracker_with_more_changes_than_a_step_looks_at_holds_up_none_behind_it(store: Store) -> None:
    put(store, [waits("big", 1, LATER), *(waits("big", move, BLOCKED) for move in range(2, 50)), waits("c", 1, BLOCKED)])
    orphans = OrphanSearch()
    assert [search(store, orphans, 10), search(store, orphans, 10)] == [0, 1]


def test_the_writing_process_looks_whenever_it_tidies_up(store: Store) -> None:
    put(store, [waits("t", 2, BLOCKED)])
    store.executor.do(Tidy({}, NOW))
    assert due(store) == {("shop", "ship24", "t", 2): NOW}
