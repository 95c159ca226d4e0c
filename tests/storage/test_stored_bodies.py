"""Rows of bodies: packed where every program that may run can read that; all of them are read, changed and checked alike."""

import json
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver import clock
from receiver.clock import from_micros
from receiver.domain.records import Answer
from receiver.domain.rows import BodyRow
from receiver.errors import BodyDamaged, StorageUnavailable
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.database_copies import read_copy
from receiver.storage.stored_bodies import change_body, find_damaged_body, read_body, read_stored
from receiver.storage.stored_deliveries import read_delivery
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.earlier_version import upgrade
from tests.harness.rows import table_rows
from tests.harness.service import environment
from tests.harness.storage import damage_body, forbid_packing, make_tables, migrate
from tests.harness.store import Store, opened, submission

OPS = "the-ops-token-of-these-tests"
BEFORE = "0031"
"""The last version whose programs cannot read packed bodies."""


def keep(store: Store, body: bytes) -> tuple[str, Answer]:
    """Store a delivery; return its id and its answer."""
    given = submission(body)
    (answer,) = store.inbox.keep([given], from_micros(given.delivery.received_at))
    assert answer is not None
    return given.delivery.id, answer


def stored(store: Store, delivery_id: str) -> BodyRow:
    with store.database.read() as connection:
        return read_stored(connection, [delivery_id])[delivery_id]


def is_packed(url: str) -> bool:
    """Tell whether a new delivery is packed; check that it comes back."""
    body = ship24.single()
    with opened(url) as store:
        delivery_id, answer = keep(store, body)
        shown = queries.show_delivery(store.database, delivery_id)
        assert (shown.body, shown.answer) == (body, answer.body)
        assert read_delivery(store.database, delivery_id).body == body
        return stored(store, delivery_id).content_bytes is not None


def test_bodies_in_new_tables_are_packed(database_url: str) -> None:
    migrate(database_url)
    assert is_packed(database_url)


def test_in_a_file_they_are_packed_after_an_upgrade_because_it_has_one_writer(sqlite_url: str) -> None:
    upgrade(sqlite_url, BEFORE)
    migrate(sqlite_url)
    assert is_packed(sqlite_url)
    newest = table_rows(sqlite_url, "table_versions", "compatible_from", order="version")[-1]
    assert newest["compatible_from"] > BEFORE  # so that an earlier program refuses the file


def test_beside_receivers_of_the_version_before_they_are_not_packed(postgresql_url: str) -> None:
    upgrade(postgresql_url, BEFORE)
    migrate(postgresql_url)
    assert not is_packed(postgresql_url)
    newest = table_rows(postgresql_url, "table_versions", "compatible_from", order="version")[-1]
    assert newest["compatible_from"] <= BEFORE  # so that they go on serving


def test_rows_of_both_kinds_are_read_and_changed_in_one_database(database_url: str) -> None:
    make_tables(database_url)
    body = ship24.body(ship24.item("m-1"), ship24.item("m-2"))
    with opened(database_url) as store:
        packed, _ = keep(store, body)
    forbid_packing(database_url)
    with opened(database_url) as store:
        plain, _ = keep(store, body)
        for delivery_id, size in ((packed, True), (plain, False)):
            assert (stored(store, delivery_id).content_bytes is not None) is size
            with store.database.read() as connection:
                before = read_body(connection, delivery_id)
            assert before is not None
            changed = store.transactions.run(
                lambda connection, of=delivery_id: change_body(connection, of, answer=b'{"late":true}')  # type: ignore[misc]
            )
            assert changed
            with store.database.read() as connection:
                assert read_body(connection, delivery_id) == before._replace(answer=b'{"late":true}')
            assert (stored(store, delivery_id).content_bytes is not None) is size
        assert not store.transactions.run(lambda connection: change_body(connection, "no such delivery", body=b"{}"))


def test_a_damaged_body_is_an_error_that_names_its_delivery_and_the_others_are_read(database_url: str) -> None:
    make_tables(database_url)
    with opened(database_url) as store:
        good, bad = (keep(store, ship24.single())[0] for _ in range(2))
        with store.database.read() as connection:
            assert find_damaged_body(connection, lambda: False) is None
        damage_body(database_url, bad)
        for read in (read_delivery, queries.show_delivery):
            with pytest.raises(BodyDamaged, match=bad):
                read(store.database, bad)
            read(store.database, good)
        with pytest.raises(BodyDamaged, match=bad):
            store.transactions.run(lambda connection: change_body(connection, bad, answer=b"{}"))
        with store.database.read() as connection:
            assert bad in (find_damaged_body(connection, lambda: False) or "")
            assert find_damaged_body(connection, lambda: False, 0) is None
            with pytest.raises(KeyboardInterrupt):
                find_damaged_body(connection, lambda: True)


def test_a_copy_with_a_damaged_body_is_damaged(sqlite_url: str, tmp_path: Path) -> None:
    make_tables(sqlite_url)
    with opened(sqlite_url) as store:
        bad, _ = keep(store, ship24.single())
    path = Database(sqlite_url).path
    assert path is not None
    read_copy(path, lambda: False, with_bodies=True)
    damage_body(sqlite_url, bad)
    with pytest.raises(StorageUnavailable, match=f"is damaged: The stored body of delivery {bad}"):
        read_copy(path, lambda: False, with_bodies=True)
    read_copy(path, lambda: False)  # it can still be backed up and restored


def test_a_copy_of_earlier_tables_is_checked_too(sqlite_url: str) -> None:
    upgrade(sqlite_url, BEFORE)
    path = Database(sqlite_url).path
    assert path is not None
    assert read_copy(path, lambda: False, with_bodies=True).version.version == BEFORE


@pytest.mark.parametrize("beside_service", [True, False])
def test_a_damaged_body_stops_no_work_on_other_deliveries(
    service: StartService, sqlite_url: str, tmp_path: Path, *, beside_service: bool
) -> None:
    make_tables(sqlite_url)
    with opened(sqlite_url) as store:
        bad, good = (keep(store, _early(number))[0] for number in ("1", "2"))
    damage_body(sqlite_url, bad)
    running = service(sqlite_url, ops_tokens=OPS, max_future_hours="87600") if beside_service else None
    folder, env = (running.directory, running.env) if running else (tmp_path, environment(sqlite_url, max_future_hours="87600"))

    def run(*arguments: str) -> tuple[int, Any]:
        done = run_command(*arguments, "--yes", "--json", cwd=folder, env=env)
        return done.returncode, json.loads(done.stdout)

    code, replayed = run("deliveries", "replay", "--retry", "--outcome", "accepted")
    assert (code, replayed["changed"]) == (0, 1)
    ((skipped, reason),) = (each.values() for each in replayed["skipped"])
    assert (skipped, f"delivery {bad} is damaged" in reason) == (bad, True)
    if running:
        retried = running.post(b'{"reason": "implausible_future"}', path="/ops/api/quarantine/retry", token=OPS).json()
        assert (retried["deliveries"], retried["skipped"]) == (1, 1)
    code, receipt = run("forget", "--tracker", "ship24/late")
    assert (code, receipt["removed"], receipt["unreadable"]) == (1, 1, 1)
    with closing(Database(sqlite_url)) as database, database.read() as connection:
        assert [*read_stored(connection, [bad, good])] == [bad]


def _early(number: str) -> bytes:
    """Return a message of one tracker whose event is a year ahead."""
    occurrence = (clock.now() + timedelta(days=365)).isoformat()
    return ship24.single(f"early-{number}", tracker_id="late", events=[ship24.event(f"e{number}", occurrence)])


def test_an_operator_is_told_of_a_damaged_body(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    delivery_id = running.post(ship24.single("damaged")).json()["delivery_id"]
    assert running.get(f"/ops/api/deliveries/{delivery_id}", OPS).json()["body"]
    damage_body(sqlite_url, delivery_id)
    shown = running.get(f"/ops/api/deliveries/{delivery_id}", OPS)
    assert (shown.status, shown.json()["error"]["code"]) == (500, "body_damaged")
    assert delivery_id in shown.json()["error"]["message"]
    assert running.post(ship24.single("damaged")).outcomes() == ["duplicate"]
