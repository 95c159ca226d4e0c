"""Packages of completed manifests are marked and not stuck, whatever comes in which order and to which receiver."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

from receiver.clock import new_id, to_micros
from receiver.domain.batch import BatchState
from receiver.domain.records import Submission
from receiver.sources import make_sources
from receiver.sources.intake import parse_delivery
from receiver.storage import queries
from receiver.storage.ledger import Ledger
from receiver.storage.queries import TrackerFilter
from receiver.storage.run_removal import remove_tests
from tests.harness import ship24
from tests.harness.completions import read_completed, read_mismarked
from tests.harness.rows import read_rows
from tests.harness.service import wait_until
from tests.harness.storage import WAITING, make_tables, update_rows
from tests.harness.store import NOW, Store, delivery, opened_twice
from tests.harness.table import each_row

RUN = "a1b2c3d4"
MAX_FUTURE = timedelta(hours=48)
KINDS = {source.kind: source for source in make_sources({}, {}) if source.name == "shiipp"}
Item = dict[str, Any]


def package(package_id: str, manifest: str | None = None, **more: Any) -> Item:
    return {"package_id": package_id, **({"manifest_id": manifest} if manifest else {}), **more}


def manifest(manifest_id: str, status: str, *packages: str) -> Item:
    return {"manifest_id": manifest_id, "status": status, "packages": packages}


class PackageStore(Store):
    """A store that receives packages and manifests, each a second after the one before."""

    _seconds = count(1)

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url

    def parse(self, item: Item, run: str | None = None) -> Submission:
        source = KINDS["manifest-status" if "status" in item else "new-package"]
        at = NOW + timedelta(seconds=next(self._seconds))
        came = delivery(orjson.dumps(item))._replace(id=new_id(at), received_at=to_micros(at), test_run=run)
        return parse_delivery(source, came._replace(source=source.name, kind=source.kind))

    def send(self, *items: Item, run: str | None = None) -> None:
        """Store deliveries in one batch."""
        assert None not in self.inbox.keep([self.parse(item, run) for item in items], NOW)

    def write(self, connection: Connection, item: Item) -> None:
        """Write a delivery in a transaction of the caller."""
        submission, batch_state, ledger = self.parse(item), BatchState(MAX_FUTURE, NOW), Ledger(self.database)
        ledger.read(connection, batch_state, [submission])
        batch_state.decide(submission.delivery, submission.messages)
        ledger.write(connection, batch_state)

    def stuck(self) -> list[str]:
        later = to_micros(NOW + timedelta(days=9))
        found = queries.list_trackers(self.database, TrackerFilter(stuck_since=later)).items
        return sorted(item["tracker_id"] for item in found)


@pytest.fixture
def store(database_url: str) -> Iterator[PackageStore]:
    make_tables(database_url)
    with closing(PackageStore(database_url)) as opened:
        yield opened


_ids = st.sampled_from(["p1", "p2", "p3"])
_manifests = st.sampled_from(["m1", "m2"])
_packages = st.builds(package, _ids, st.none() | _manifests, message_id=st.text("abcdef", min_size=9, max_size=9))
_statuses = st.sampled_from(["ready", "Completed", "completed", "shipped"])
_status_messages = st.builds(lambda of, status, packages: manifest(of, status, *packages), _manifests, _statuses, st.sets(_ids))
_batches = st.lists(st.lists(_packages | _status_messages, min_size=1, max_size=4), max_size=6)


@settings(max_examples=24)
@given(batches=_batches)
def test_after_each_batch_the_marked_packages_are_those_of_completed_manifests(
    store: PackageStore, batches: list[list[Item]]
) -> None:
    store.clear()
    for batch in batches:
        store.send(*batch)
        assert read_mismarked(store.url) == []


@each_row(
    ("case", "batches", "stuck"),
    [
        ("in no manifest", [[package("p")]], True),
        ("its manifest is shipped", [[package("p")], [manifest("m", "shipped", "p")]], True),
        ("its manifest is completed", [[package("p")], [manifest("m", "Completed", "p")]], False),
        ("all in one batch", [[manifest("m", "ready"), package("p", "m"), manifest("m", "completed")]], False),
        ("it arrives after its manifest", [[manifest("m", "completed", "p")], [package("p")]], False),
        ("it names a completed manifest", [[manifest("m", "completed")], [package("p", "m")]], False),
        ("its manifest goes back", [[package("p", "m")], [manifest("m", "completed")], [manifest("m", "shipped")]], True),
        ("it moves on", [[package("p", "m")], [manifest("m", "completed")], [manifest("n", "ready", "p")]], True),
        ("it moves", [[package("p", "m")], [manifest("n", "completed")], [manifest("n", "completed", "p")]], False),
    ],
)
def test_a_package_is_stuck_unless_its_manifest_is_completed(
    store: PackageStore, case: str, batches: Sequence[Sequence[Item]], *, stuck: bool
) -> None:
    store.clear()
    for batch in batches:
        store.send(*batch)
    assert ("p" in store.stuck(), "p" in read_completed(store.url)) == (stuck, not stuck), case


def test_a_manifest_with_the_milestone_of_packages_is_stuck_too(store: PackageStore) -> None:
    store.send(manifest("m", "received_at_warehouse", "p"), package("p"), manifest("n", "completed"))
    assert store.stuck() == ["manifest:m", "p"]


def test_a_package_that_an_earlier_version_left_unmarked_is_not_listed(store: PackageStore) -> None:
    store.send(package("p", "m"), manifest("m", "completed"), package("q"))
    update_rows(store.url, "trackers", manifest_completed=False)
    assert store.stuck() == ["q"]


def test_a_package_that_became_real_is_in_no_manifest_after_its_test_was_removed(store: PackageStore) -> None:
    store.send(manifest(f"m-{RUN}", "completed", f"p-{RUN}"), package(f"p-{RUN}"), run=RUN)
    assert read_completed(store.url) == [f"p-{RUN}"]
    store.send(package(f"p-{RUN}", message_id="real"))
    while any(store.transactions.run(lambda connection: remove_tests(connection, store.database, RUN))):
        pass
    assert (store.stuck(), read_mismarked(store.url)) == ([f"p-{RUN}"], [])


@each_row(
    ("before", "first", "second"),
    [
        ([], manifest("m", "completed", "p"), package("p")),
        ([], package("p", "m"), manifest("m", "completed")),
        ([manifest("m", "ready", "p")], package("p"), manifest("m", "completed")),
        ([manifest("m", "completed"), package("p")], manifest("m", "completed", "p"), manifest("m", "shipped")),
        ([package("p", "m")], manifest("m", "completed"), manifest("n", "ready", "p")),
        ([package("p", "m"), manifest("m", "completed")], manifest("n", "ready", "p"), manifest("m", "shipped")),
    ],
)
def test_of_two_receivers_at_once_the_second_waits_and_sees_what_the_first_wrote(
    postgresql_url: str, before: Sequence[Item], first: Item, second: Item
) -> None:
    with opened_twice(PackageStore, postgresql_url) as (one, other, threads):
        for early, late in ((first, second), (second, first)):
            one.clear()
            one.send(*before)

            def write_slowly(connection: Connection, early: Item = early, late: Item = late) -> Any:
                one.write(connection, early)
                waiting = threads.submit(other.send, late)
                wait_until(lambda: waiting.done() or read_rows(postgresql_url, WAITING), "the other receiver waits")
                assert not waiting.done(), "it did not wait"
                return waiting

            one.transactions.run(write_slowly).result()
            assert read_mismarked(postgresql_url) == []


def test_a_batch_of_parcels_neither_waits_for_packages_nor_marks_any(postgresql_url: str) -> None:
    heard: list[str] = []
    with opened_twice(PackageStore, postgresql_url) as (one, other, _):

        def send_parcels(connection: Connection) -> None:
            one.write(connection, package("p"))
            event.listen(Engine, "before_cursor_execute", hear)
            other.keep(ship24.single("m", tracker_id="t"))
            event.remove(Engine, "before_cursor_execute", hear)

        def hear(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
            heard.append(statement)

        one.transactions.run(send_parcels)
    assert len([statement for statement in heard if "INTO trackers" in statement]) == 1
    assert [statement for statement in heard if "advisory" in statement or "manifest_completed" in statement] == []
