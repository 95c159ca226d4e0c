"""Removal of tests: all that belongs to a run goes, in bounded transactions, and nothing else."""

from receiver.domain.changes import Subscription
from receiver.storage.run_removal import RemovedTests, count_tests, remove_tests
from receiver.storage.tables.metadata import METADATA
from tests.harness import ship24
from tests.harness.storage import change, make_tables
from tests.harness.store import NOW, Store, submission

RUN, OTHER = "a1b2c3d4", "0b0b0b0b"
TABLES = [name for name, table in METADATA.tables.items() if {"tracker_id", "delivery_id", "body_bytes"} & set(table.c.keys())]
"""Every table that names a tracker or a delivery, so that a new one is not forgotten."""
DEAD = "INSERT INTO dead_changes SELECT target, source, tracker_id, move, event_id, 1, 1, 'gone' FROM dispatches"
DELIVERED = "INSERT INTO delivered_changes SELECT target, source, tracker_id, move, event_id, 1, 1, 200 FROM dispatches"


def keep(store: Store, run: str | None, tracker_id: str, message_id: str, hour: int = 8) -> None:
    event = ship24.event(occurrence=f"2025-03-01T{hour:02}:00:00")
    sent = submission(ship24.body(ship24.item(message_id, tracker_id, [event])))
    assert None not in store.inbox.keep([sent._replace(delivery=sent.delivery._replace(test_run=run, hands_on=True))], NOW)


def count(store: Store) -> dict[str, int]:
    with store.database.read() as connection:
        return {table: connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() for table in TABLES}


def remove(store: Store, run: str | None) -> list[RemovedTests]:
    """Remove a run, piece by piece."""
    pieces = []
    while any(piece := store.transactions.run(lambda connection: remove_tests(connection, store.database, run))):
        pieces.append(piece)
    return pieces


def test_a_run_is_removed_in_pieces_and_the_rest_stays(database_url: str) -> None:
    make_tables(database_url)
    store = Store(database_url, [Subscription("shop")])
    try:
        keep(store, None, "real", "real")
        before = count(store)
        for number in range(120):
            keep(store, RUN, f"{RUN}-{number}", f"{RUN}-{number}")
        keep(store, RUN, f"{RUN}-0", f"{RUN}-0")
        keep(store, RUN, "real", f"{RUN}-foreign")
        keep(store, OTHER, f"{OTHER}-0", f"{OTHER}-0")
        change(database_url, f"{DEAD} WHERE tracker_id <> 'real'", f"{DELIVERED} WHERE tracker_id <> 'real'")
        assert count_tests(store.database, RUN) == (122, 120)
        pieces = remove(store, RUN)
        assert (sum(piece.deliveries for piece in pieces), sum(piece.trackers for piece in pieces)) == (122, 120)
        assert max(piece.trackers for piece in pieces) <= 100
        assert count_tests(store.database, None) == (1, 1)
        remove(store, None)
        assert count(store) == before
    finally:
        store.close()


def test_the_delivery_of_a_tracker_that_became_real_stays(database_url: str) -> None:
    make_tables(database_url)
    store = Store(database_url)
    try:
        keep(store, RUN, f"{RUN}-0", f"{RUN}-0")
        keep(store, None, f"{RUN}-0", "real", hour=9)
        before = count(store)
        assert remove(store, None) == []
        assert count(store) == before
    finally:
        store.close()
