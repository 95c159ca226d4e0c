"""A rebuild from stored deliveries ends in the state that they made."""

import json
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.clock import new_id, to_micros
from receiver.domain.changes import Subscription
from receiver.domain.erasure import Erasure, StoredBody
from receiver.domain.records import Answer, Submission
from receiver.domain.replays import ReplayOptions
from receiver.domain.rows import AuditRow
from receiver.errors import ConfigurationError, Unauthorized
from receiver.maintenance.comparison import Comparison, compare
from receiver.maintenance.rebuild import Rebuild, check_empty
from receiver.sources import Source, make_sources
from receiver.sources.intake import parse_delivery, parse_stored
from receiver.storage.database import Database
from receiver.storage.erasure import find_scope, plan_delivery
from receiver.storage.imports import ImportKeeper
from receiver.storage.replay import ReplayDecider
from receiver.storage.stored_deliveries import read_delivery
from receiver.storage.transactions import Transactions
from receiver.writer.commands.deliveries import Replay
from receiver.writer.commands.operators import Audited
from receiver.writer.commands.removal import Erase
from receiver.writer.executor import CommandExecutor
from receiver.writer.inbox import Inbox
from tests.harness import ship24, strategies
from tests.harness.completions import read_completed, read_mismarked
from tests.harness.database_contents import contents
from tests.harness.rows import count_rows, read_rows, table_rows
from tests.harness.storage import (
    add_row,
    change,
    clear_rows,
    damage_body,
    delete_rows,
    forbid_packing,
    make_tables,
    poison,
    update_rows,
)
from tests.harness.store import NOW, delivery
from tests.harness.strategies import arrivals, bodies, histories

SOURCES = make_sources({}, {})
FAR_AHEAD = "9999-01-01T10:00:00"
MAX_FUTURE = timedelta(hours=48)
OWN = {"events.change_id", "trackers.version", "quarantine.id"}
LEFT = {"dispatches", "dead_changes", "delivered_changes", "table_versions"}


class DeliveryStore:
    """A database that receives deliveries of all kinds, in batches a second apart, and replays them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database(url)
        self.database.take()
        self._transactions = Transactions(self.database)
        replays = ReplayDecider(self.database, MAX_FUTURE, [Subscription("all")])
        self._executor = CommandExecutor(self.database, self._transactions, replays=replays)
        self._imports = ImportKeeper(self.database, MAX_FUTURE, [Subscription("all")])
        self._inbox = Inbox(self._executor, MAX_FUTURE, [Subscription("all")])
        self._seconds = count(1)

    def call(self, *calls: tuple[Source, bytes]) -> list[str]:
        """Store deliveries in one batch; return their ids."""
        batch = []
        for source, body in calls:
            at = self._now()
            came = delivery(body)._replace(id=new_id(at), received_at=to_micros(at), source=source.name, kind=source.kind)
            batch.append(parse_delivery(source, came))
        return self.keep(batch)

    def bring_in(self, source: Source, body: bytes, sent_seconds_ago: int | None = None, number: int = 1) -> list[str]:
        """Import a body as an operator does; return the id of its delivery, or none for a body that cannot be read."""
        at = self._now()
        sent_at = None if sent_seconds_ago is None else to_micros(at - timedelta(seconds=sent_seconds_ago))
        brought = delivery(body)._replace(id=new_id(at), received_at=to_micros(at), source=source.name, kind=source.kind)
        brought = brought._replace(origin="import", sent_at=sent_at, body_number=number, token=None)
        submission = parse_delivery(source, brought)
        if submission.error is not None:
            return []
        now = self._now()
        self._transactions.run(lambda connection: self._imports.keep(connection, submission, now, dry_run=False))
        return [brought.id]

    def keep(self, batch: Sequence[Submission]) -> list[str]:
        assert None not in self._inbox.keep(batch, self._now())
        return [submission.delivery.id for submission in batch]

    def group(self, *items: Any) -> str:
        """Store one delivery of Ship24."""
        return self.call((SOURCES[0], ship24.body(*items)))[0]

    def replay(self, delivery_id: str, how: str | None = None) -> None:
        """Replay a delivery, as an operator does: `force`, `undo`, or neither."""
        now = self._now()
        entry = AuditRow(new_id(now), to_micros(now), "anna", None, "replay", delivery_id, how)
        submission = parse_stored(SOURCES, read_delivery(self.database, delivery_id))
        self._executor.do(Audited(entry, Replay(submission, ReplayOptions.from_audit(to_micros(now), how))))

    def erase(self, call: StoredBody, erasure: Erasure) -> bool:
        """Erase what was planned, if the delivery is still as it was read."""
        return self._executor.do(Erase(call, erasure))

    def _now(self) -> datetime:
        return NOW + timedelta(seconds=next(self._seconds))

    def close(self) -> None:
        self._transactions.close()
        self.database.close()


def rebuild(source: Database, into: str) -> list[Comparison]:
    """Rebuild a database in another one."""
    make_tables(into)
    target = Database(into)
    target.take()
    try:
        take = partial(parse_stored, SOURCES)
        with source.read_snapshot() as snapshot, closing(Rebuild(snapshot, target, take, MAX_FUTURE)) as work:
            assert sum(work.run()) == work.count_deliveries()
            work.copy_rest()
            return list(compare(snapshot, target))
    finally:
        target.close()


def check_same(post: DeliveryStore, into: str, without: set[str] = OWN) -> None:
    """Rebuild, and check that all rows are the same, but ids that each database makes itself, and the outbox."""
    compared = rebuild(post.database, into)
    assert [row for row in compared if row.differing or row.before != row.after] == []
    was, now = contents(post.url, without=without | LEFT), contents(into, without=without | LEFT)
    for table in was:
        assert now[table] == was[table], table
    assert table_rows(into, "dispatches") == []


@st.composite
def packages(draw: st.DrawFn) -> tuple[Source, bytes]:
    """A delivery of Shiipp: few packages and manifests, with and without times and ids."""
    kind = draw(st.sampled_from([SOURCES[1], SOURCES[2]]))
    moment = draw(st.sampled_from([None, "2025-05-01T10:00:00", "2025-05-02", "soon", FAR_AHEAD]))
    if kind is SOURCES[1]:
        names = {
            "package_id": draw(st.sampled_from(["P1", "P2", None])),
            "manifest_id": draw(st.sampled_from([None, "M1", "M2"])),
        }
        said: dict[str, Any] = {**names, "tracking_number": draw(st.sampled_from([None, "T1"])), "entry_date_time": moment}
    else:
        status = draw(st.sampled_from(["Ready", "Shipped", "Completed"]))
        said = {
            "manifest_id": draw(st.sampled_from(["M1", "M2"])),
            "status": status,
            "status_date_time": moment,
            "packages": draw(st.sampled_from([[], ["P1"], ["P2", "P1"]])),
        }
    return kind, orjson.dumps({name: value for name, value in said.items() if value is not None})


@settings(max_examples=12)
@given(data=st.data())
def test_a_mix_of_calls_is_rebuilt_as_it_was(post: DeliveryStore, into: str, data: st.DataObject) -> None:
    clear_rows(post.url)
    make_tables(into)
    clear_rows(into)
    stories = [data.draw(histories(f"t{number}")) for number in range(data.draw(st.integers(1, 3)))]
    items = [item for story in stories for item in story.items]
    items += [ship24.item(f"far-{number}", "t0", [ship24.event(occurrence=FAR_AHEAD)]) for number in range(2)]
    batches = [[(SOURCES[0], body) for body in batch] for batch in data.draw(arrivals(items))]
    nasty = [(SOURCES[0], body.replace(strategies.PLACE_OF_NUMBER, b"0")) for body in data.draw(st.lists(bodies(), max_size=3))]
    batches += [[call] for call in [*nasty, *data.draw(st.lists(packages(), max_size=8))]]
    ids = []
    for batch in data.draw(st.permutations(batches)):
        if data.draw(st.integers(0, 3)) == 0:
            for number, (source, body) in enumerate(batch, 1):
                ids += post.bring_in(source, body, data.draw(st.sampled_from([None, 1, 30])), number)
        else:
            ids += post.call(*batch)
        if ids and data.draw(st.integers(0, 4)) == 0:
            post.replay(data.draw(st.sampled_from(ids)), data.draw(st.sampled_from([None, "force", "undo", "retry"])))
    check_same(post, into)
    assert (read_mismarked(post.url), read_mismarked(into)) == ([], [])


def test_each_delivery_is_decided_at_its_own_time(post: DeliveryStore, into: str) -> None:
    """A snapshot that is in the future of the first delivery of a chunk is not in that of a later one."""
    post.group(ship24.item("m", "t"))
    post.call((SOURCES[2], orjson.dumps({"manifest_id": "M1", "status": "Shipped"})))
    post.bring_in(SOURCES[2], orjson.dumps({"manifest_id": "M1", "status": "Ready"}), 30)
    check_same(post, into)


def test_calls_that_brought_nothing_and_what_operators_did_are_copied(post: DeliveryStore, into: str) -> None:
    refused = delivery(b"")._replace(id="refused")
    fetched = delivery(b"")._replace(id="fetched", source="shiipp", kind="customers", method="GET")
    post.keep([Submission(refused, error=Unauthorized("No token.")), Submission(fetched, answer=Answer(200, b"[]"), served=3)])
    post.group(ship24.item("m", "t"))
    add_row(post.url, "customers", import_id="list", user_code="U1", document="{}")
    add_row(post.url, "customer_imports", id="list", imported_at=1, customers=1, body_bytes=4)
    add_row(post.url, "setup_windows", source="ship24", opened_at=1, closes_at=2)
    add_row(post.url, "stopped_targets", target="gone", stopped_at=1, reason="410")
    check_same(post, into)
    for table in ("customers", "customer_imports", "setup_windows", "stopped_targets", "token_uses"):
        assert count_rows(into, table) > 0, table


def test_a_damaged_body_is_copied_as_it_is_and_what_it_made_is_taken_over(post: DeliveryStore, into: str) -> None:
    post.group(ship24.item("whole", "t", [ship24.event("e1", "2025-03-01")]))
    damaged = post.group(ship24.item("damaged", "t", [ship24.event("e2", "2025-03-02")]))
    damage_body(post.url, damaged)
    compared = rebuild(post.database, into)
    assert [row for row in compared if row.differing or row.before != row.after] == []
    frames = "SELECT delivery_id, body, content_bytes FROM bodies ORDER BY delivery_id"
    assert read_rows(into, frames) == read_rows(post.url, frames)
    assert table_rows(into, "trackers", "latest_event_id") == [{"latest_event_id": "e2"}]


def test_bodies_that_are_stored_as_they_came_are_packed(post: DeliveryStore, into: str) -> None:
    forbid_packing(post.url)
    post.group(ship24.item("m", "t"))
    rebuild(post.database, into)
    sizes = [[row["content_bytes"] for row in table_rows(url, "bodies")] for url in (post.url, into)]
    assert sizes[0] == [None]
    assert None not in sizes[1]
    columns = ("delivery_id", "headers", "body", "answer")
    assert table_rows(into, "bodies", *columns) == table_rows(post.url, "bodies", *columns)


def test_what_calls_made_whose_bodies_are_gone_is_taken_over(post: DeliveryStore, into: str) -> None:
    def item(number: int, *days: int) -> Any:
        events = [ship24.event(f"e{day}", f"2025-03-{day:02}", status=f"day {day}") for day in days]
        return ship24.item(f"m{number}", "t", events, generated_at=f"2025-03-{number:02}T00:00:00Z")

    post.group(item(5, 1, 4))
    first = post.group(item(6, 6, 3), item(2, 7))
    two = post.group(item(8, 8, 9))
    both = post.group(item(3, 10, 2), ship24.item("apart", "t", [ship24.event(occurrence=FAR_AHEAD)]), 7)
    post.group(item(4, 11))
    gone = post.group(ship24.item("m9", "u"), item(6, 6))
    forced = post.group(ship24.item("far", "v", [ship24.event("far", FAR_AHEAD)]))
    post.replay(forced, "force")
    for delivery_id in (first, two, both, gone, forced):
        delete_rows(post.url, "bodies", delivery_id=delivery_id)
    check_same(post, into)
    (tracker,) = table_rows(into, "trackers", tracker_id="t")
    assert (tracker["status"], tracker["moves"], tracker["snapshot_message_id"]) == ("day 11", 8, "m8")


def test_an_earlier_version_whose_body_is_gone_stays_superseded(post: DeliveryStore, into: str) -> None:
    def version(message_id: str, day: int, built: int) -> Any:
        return ship24.item(message_id, "t", [ship24.event("e", f"2025-03-{day:02}")], f"2025-04-{built:02}T00:00:00Z")

    post.group(version("m1", 8, 2))
    late = post.group(version("m2", 5, 1))
    assert [row["message_id"] for row in table_rows(post.url, "superseded_events")] == ["m2"]
    delete_rows(post.url, "bodies", delivery_id=late)
    check_same(post, into)


@pytest.mark.parametrize("pruned", [False, True])
def test_dismissed_and_resolved_items_are_so_after_it(post: DeliveryStore, into: str, *, pruned: bool) -> None:
    wrong = [ship24.event("e1", "no time"), ship24.event("e2", None)]
    post.group(ship24.item("m0", "u", [ship24.event("e0", "2025-02-01")]))
    first = post.group(ship24.item("m1", "t", wrong), ship24.item("m2", "u", [ship24.event("e3", "no time")]), 7)
    post.group(ship24.item("m2", "u", [ship24.event("e3", "2025-03-01")]))
    dismissed = {"closed_at": 5, "closed_as": "dismissed", "closed_by": "anna", "note": "as agreed"}
    update_rows(post.url, "quarantine", {"reason": "bad_occurrence", "position": 0}, **dismissed)
    if pruned:
        delete_rows(post.url, "bodies", delivery_id=first)
    check_same(post, into)
    names = ("position", "event_position", "reason", "closed_at", "closed_as", "closed_by", "note")
    states = [sorted(map(str, table_rows(url, "quarantine", *names))) for url in (post.url, into)]
    assert states[0] == states[1]
    assert [row["closed_as"] for row in table_rows(into, "quarantine", "closed_as", order="position, event_position")] == [
        *("dismissed", None, "resolved", None)
    ]


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("events", [["e0"], []])
def test_an_event_that_was_forced_and_taken_back_is_not_there_again(
    post: DeliveryStore, into: str, events: list[str], *, pruned: bool
) -> None:
    for name in events:
        post.group(ship24.item(f"m-{name}", "t", [ship24.event(name, "2025-03-01")]))
    forced = post.group(ship24.item("far", "t", [ship24.event("far", FAR_AHEAD)]))
    for how in ("force", "undo", "force", "undo"):
        post.replay(forced, how)
    if pruned:
        delete_rows(post.url, "bodies", delivery_id=forced)
    check_same(post, into)
    (tracker,) = table_rows(into, "trackers", tracker_id="t")
    assert (tracker["latest_event_id"], tracker["moves"]) == (max(events, default=None), 4 + len(events))


def test_of_a_group_with_an_erased_item_the_others_are_decided_again(post: DeliveryStore, into: str) -> None:
    """And the verdict of the erased item is taken over: its message stays known, though nothing says any more what it was."""

    def item(message_id: str, tracker_id: str, day: int, **more: Any) -> Any:
        return ship24.item(message_id, tracker_id, [ship24.event(f"e-{message_id}", f"2025-03-{day:02}")], **more)

    far = ship24.item("far", "other", [ship24.event("e-far", FAR_AHEAD)])
    group = post.group(item("o1", "other", 1), item("p1", "person", 2), far, None, item("o2", "other", 3))
    post.group(item("p1", "person", 2), item("o3", "other", 2))
    post.group({"metadata": {}, "tracker": {"trackerId": "person"}}, item("o4", "third", 2))
    erase(post, "person")
    bodies = [json.loads(bytes(row["body"]))["trackings"] for row in table_rows(post.url, "bodies", "body", order="1")]
    assert sorted(len([each for each in items if each is None]) for items in bodies) == [1, 1, 2]
    check_same(post, into)
    before = table_rows(post.url, "messages", message_id="p1")
    post.replay(group, "force")
    assert table_rows(post.url, "messages", message_id="p1") == before
    assert table_rows(post.url, "messages", "outcome", message_id="far")[0]["outcome"] == "applied"
    clear_rows(into)
    check_same(post, into)


def test_packages_of_completed_manifests_are_marked_although_their_bodies_are_gone(post: DeliveryStore, into: str) -> None:
    completed = {"manifest_id": "M1", "status": "Completed", "packages": ["P1", "P2"]}
    for source, item in ((SOURCES[1], {"package_id": "P1"}), (SOURCES[2], completed), (SOURCES[1], {"package_id": "P2"})):
        post.call((source, orjson.dumps(item)))
    delete_rows(post.url, "bodies")
    check_same(post, into)
    assert read_completed(into) == ["P1", "P2"]


def test_a_package_is_in_its_last_manifest_although_the_body_that_says_so_is_gone(post: DeliveryStore, into: str) -> None:
    post.call((SOURCES[1], orjson.dumps({"package_id": "P1", "manifest_id": "M1"})))
    listed = {"manifest_id": "M2", "status": "Completed", "packages": ["P1"]}
    (gone,) = post.call((SOURCES[2], orjson.dumps(listed)))
    delete_rows(post.url, "bodies", delivery_id=gone)
    check_same(post, into)
    assert table_rows(into, "links", "package", "manifest") == [{"package": "P1", "manifest": "manifest:M2"}]
    assert read_completed(into) == ["P1"]


def test_a_part_in_quarantine_that_came_mended_is_so_although_that_body_is_gone(post: DeliveryStore, into: str) -> None:
    def item(status: str, second: str) -> Any:
        events = [ship24.event("e1", "2025-03-01", status=status), ship24.event("e2", second)]
        return ship24.item("m", "t", events, generated_at="2025-03-03T00:00:00Z")

    post.group(item("wrong", "soon"))
    gone = post.group(item("right", "2025-03-02"))
    post.group(ship24.item("m2", "t", [ship24.event("e3", "2025-03-01")], generated_at="2025-03-01T00:00:00Z"))
    delete_rows(post.url, "bodies", delivery_id=gone)
    check_same(post, into)
    assert table_rows(into, "trackers", "latest_event_id") == [{"latest_event_id": "e2"}]


def erase(post: DeliveryStore, tracker_id: str) -> None:
    """Erase a tracker's personal data, as `receiver forget` does."""
    splits = {each.kind: each.split for each in SOURCES}
    scope = find_scope(post.database, "ship24", tracker_id)
    for delivery_id, positions in scope.deliveries.items():
        planned = plan_delivery(post.database, scope.subject, splits, delivery_id, positions)
        if planned is not None:
            assert post.erase(*planned)


def test_the_last_move_of_a_message_that_is_taken_over_is_where_its_tracker_stands(post: DeliveryStore, into: str) -> None:
    events = [ship24.event(f"e{day}", f"2025-03-0{day}") for day in (3, 5, 4)]
    post.group(ship24.item("m", "t", events[:2]))
    delete_rows(post.url, "bodies")
    post.group(ship24.item("n", "t", events[2:]))
    check_same(post, into)
    assert [row["latest_event_id"] for row in table_rows(into, "trackers")] == ["e5"]


def test_what_operators_had_decided_again_is_so_in_its_place(post: DeliveryStore, into: str) -> None:
    early = post.group(ship24.item("m1", "t", [ship24.event("e1", FAR_AHEAD)]))
    later = post.group(ship24.item("m2", "t", [ship24.event("e2", "9999-02-01")]))
    post.group(ship24.item("m3", "t", [ship24.event("e3", "2025-03-01")]))
    post.replay(later, "force")
    post.group(ship24.item("m4", "t", [ship24.event("e4", "2025-03-02")]))
    post.replay(early, "force")
    post.replay(early)
    check_same(post, into)
    verdicts = {row["event_id"]: row["outcome"] for row in table_rows(into, "events")}
    assert verdicts == {"e1": "stale", "e2": "applied", "e3": "applied", "e4": "stale"}


def test_what_is_sent_again_is_a_duplicate_of_what_was_taken_over(post: DeliveryStore, into: str) -> None:
    body = ship24.single("m", tracker_id="t")
    post.call((SOURCES[0], body))
    delete_rows(post.url, "bodies")
    rebuild(post.database, into)
    with closing(DeliveryStore(into)) as rebuilt:
        rebuilt.call((SOURCES[0], body))
    assert [row["outcome"] for row in table_rows(into, "sightings", "outcome")] == ["duplicate"]
    assert len(table_rows(into, "events")) == 1


def test_many_calls_go_in_several_transactions_and_their_order_is_kept(post: DeliveryStore, into: str) -> None:
    for start in range(0, 450, 50):
        events = [ship24.event(f"e{number}", f"2025-03-{number % 28 + 1:02}") for number in range(start, start + 50)]
        items = [ship24.item(f"m-{each['eventId']}", f"t{place % 7}", [each]) for place, each in enumerate(events)]
        post.call(*((SOURCES[0], ship24.body(item)) for item in items))
    check_same(post, into)


def test_large_bodies_go_in_transactions_of_their_own(post: DeliveryStore, into: str) -> None:
    calls = [post.group(ship24.item(f"m{number}", "t")) for number in range(4)]
    for delivery_id, mebibytes in zip(calls, (5, 9, 5, 3), strict=True):
        update_rows(post.url, "deliveries", {"id": delivery_id}, body_bytes=mebibytes << 20)
    make_tables(into)
    target = Database(into)
    target.take()
    take = partial(parse_stored, SOURCES)
    with (
        closing(target),
        post.database.read_snapshot() as snapshot,
        closing(Rebuild(snapshot, target, take, MAX_FUTURE)) as work,
    ):
        assert list(work.run()) == [1, 1, 2]


def test_a_call_that_cannot_be_decided_harms_no_other(post: DeliveryStore, into: str) -> None:
    group = ship24.body(ship24.item("beside"), ship24.item("poison", "poisoned"))
    post.call((SOURCES[0], group), (SOURCES[0], ship24.single("fine")))
    make_tables(into)
    poison(into, "poisoned")
    compared = {row.table: row for row in rebuild(post.database, into)}
    assert (compared["messages"].before, compared["messages"].after, compared["messages"].differing) == (3, 2, 1)
    assert [row["reason"] for row in table_rows(into, "quarantine", "reason")] == ["undecidable"]
    assert compared["deliveries"].differing == 0


def test_a_difference_is_counted(post: DeliveryStore, into: str) -> None:
    post.group(ship24.item("m", "t"))
    update_rows(post.url, "trackers", status="another")
    update_rows(post.url, "events", outcome="stale")
    compared = {row.table: row.differing for row in rebuild(post.database, into)}
    assert {table: number for table, number in compared.items() if number} == {"trackers": 1, "events": 1}


def test_what_comes_meanwhile_is_not_seen(post: DeliveryStore, into: str) -> None:
    post.group(ship24.item("m", "t"))
    make_tables(into)
    target = Database(into)
    take = partial(parse_stored, SOURCES)
    with (
        closing(target),
        post.database.read_snapshot() as snapshot,
        closing(Rebuild(snapshot, target, take, MAX_FUTURE)) as work,
    ):
        assert work.count_deliveries() == 1
        post.group(ship24.item("later", "t"))
        assert list(work.run()) == [1]
        assert work.count_deliveries() == 1


def test_a_database_with_anything_in_it_is_not_empty(into: str) -> None:
    database = Database(into)
    with closing(database):
        database.take(create=True)
        check_empty(database)
        database.close()
        make_tables(into)
        check_empty(database)
        add_row(into, "alarms", name="a", subject="b", began_at=1, message="c")
        with pytest.raises(ConfigurationError, match="alarms"):
            check_empty(database)
        delete_rows(into, "alarms")
        change(into, "CREATE TABLE somebody_elses (id INTEGER)")
        with pytest.raises(ConfigurationError, match="somebody_elses"):
            check_empty(database)


def test_processes_that_ran_on_the_old_database_are_not_copied(post: DeliveryStore, into: str) -> None:
    process = {"id": "a", "role": "relay", "host": "h", "process_id": 7, "program": "1", "started_at": 1, "seen_at": 1}
    add_row(post.url, "processes", targets="[]", **process)
    rebuild(post.database, into)
    assert table_rows(into, "processes") == []
