"""Targets of basis `shipment` get a change for each change of the sender's own milestone, and no others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver.domain.changes import Change, Subscription
from receiver.handlers import on_change, subscription_of
from receiver.relay.assembly import ConfiguredTarget, describe_targets
from receiver.settings.targets import read_targets
from receiver.storage import queries
from receiver.storage.outbox import Outbox, Outcome
from receiver.storage.tables.outbox import BLOCKED
from tests.harness import ship24
from tests.harness.rows import table_rows
from tests.harness.ship24 import Item
from tests.harness.storage import make_tables
from tests.harness.store import Store

PAYLOADS = Path(__file__).parents[1] / "payloads/ship24"
_FAR = 4_000_000_000_000_000
_ALL = (
    Subscription("shop"),
    Subscription("views", basis="shipment"),
    Subscription("arrived", milestones=frozenset({"delivered"}), milestone_changed=True, basis="shipment"),
)


@pytest.fixture
def told(database_url: str) -> Iterator[Store]:
    make_tables(database_url)
    store = Store(database_url, _ALL)
    yield store
    store.close()


def take(store: Store, target: str) -> list[Change]:
    """Deliver all that waits for a target."""
    outbox, taken = Outbox(store.database), list[Change]()
    for number in range(10):
        mark = f"relay.{target}.{number}"
        found = store.transactions.run(lambda c, m=mark: outbox.exchange(c, target, m, _FAR, _FAR + 1, 10)).claimed  # type: ignore[misc]
        taken += [one.change for one in found]
        ended = [Outcome(mark, *one.change.stored_key) for one in found]
        assert store.transactions.run(lambda c, e=ended: outbox.settle(c, target, _FAR, e)) == len(found)  # type: ignore[misc]
    return taken


def views(changes: list[Change]) -> list[tuple[int, str | None, str | None]]:
    return [(one.sequence, one.old_shipment_milestone, one.shipment_milestone) for one in changes]


def item(message_id: str, view: str | None, built: int, events: list[Item] | None = None) -> Item:
    at = f"2025-03-02T00:00:{built:02}.000Z"
    return ship24.item(message_id, "t", events or [], at, shipment={"statusMilestone": view})


@pytest.mark.parametrize("case", ["delivered-stamped-before-out-for-delivery", "date-only-twice-no-order"])
def test_a_target_gets_the_view_of_the_sender_that_the_newest_event_does_not_have(told: Store, case: str) -> None:
    for part in ("first", "second"):
        told.keep((PAYLOADS / f"{case}-{part}.json").read_bytes())
    assert [one.status_milestone for one in take(told, "shop")] == ["out_for_delivery"]
    changes = take(told, "views")
    assert views(changes) == [(1, None, "out_for_delivery"), (2, "out_for_delivery", "delivered")]
    assert views(take(told, "arrived")) == views(changes[1:])
    sent = changes[1].as_json()
    names = ("basis", "status_milestone", "shipment_milestone", "milestone_differs", "status")
    assert [sent[name] for name in names] == ["shipment", "out_for_delivery", "delivered", True, "Out for delivery"]


def test_a_change_of_an_event_carries_the_senders_view(told: Store) -> None:
    told.keep(ship24.body(item("m1", "delivered", 1, [ship24.event("e", statusMilestone="in_transit")])))
    (change,) = take(told, "shop")
    sent = change.as_json()
    assert (sent["basis"], sent["shipment_milestone"], sent["milestone_differs"]) == ("events", "delivered", True)


@pytest.mark.parametrize("grouped", [True, False])
def test_changes_that_wait_carry_the_view_of_their_own_message(told: Store, grouped: bool) -> None:
    """The last one takes the second event back: the tracker moves to the first event again."""
    said = [("e1", "08", "in_transit"), ("e2", "10", "delivered"), ("e2", "07", "exception")]
    items = [
        item(f"m{number}", view, number, [ship24.event(event, f"2025-03-01T{hour}:00:00", statusMilestone=view)])
        for number, (event, hour, view) in enumerate(said, 1)
    ]
    for bodies in [items] if grouped else [[one] for one in items]:
        told.keep(ship24.body(*bodies))
    assert [(one.status_milestone, one.shipment_milestone, one.milestone_differs) for one in take(told, "shop")] == [
        ("in_transit", "in_transit", False),
        ("delivered", "delivered", False),
        ("in_transit", "exception", True),
    ]


@pytest.mark.parametrize("grouped", [True, False])
def test_only_a_later_view_is_a_change_and_each_message_takes_effect_once(told: Store, grouped: bool) -> None:
    items = [item("m1", "a", 1), item("m3", "b", 3), item("m2", "late", 2), item("m4", "b", 4), item("m5", None, 5)]
    for bodies in [items, items] if grouped else [[one] for one in items * 2]:
        told.keep(ship24.body(*bodies))
    changes = take(told, "views")
    assert views(changes) == [(1, None, "a"), (2, "a", "b"), (3, "b", None)]
    assert [(one.event_id, one.occurrence, one.message_id) for one in changes] == [(None, None, f"m{n}") for n in (1, 3, 5)]
    assert take(told, "shop") == take(told, "arrived") == []


def test_changes_have_the_same_ids_in_another_database(told: Store, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/again.db"
    make_tables(url)
    again = Store(url, _ALL)
    try:
        for store in (told, again):
            store.keep(ship24.body(item("m1", "a", 1), item("m2", "b", 2), item("m3", "a", 3), item("m4", "b", 4)))
        ids = [[one.id for one in take(store, "views")] for store in (told, again)]
        assert ids[0] == ids[1]
        assert len(set(ids[0])) == 4
    finally:
        again.close()


def test_changes_of_both_kinds_may_wait_for_a_target_whose_basis_was_changed(told: Store) -> None:
    told.keep(ship24.body(item("m1", "a", 1, [ship24.event("e", statusMilestone="in_transit")])))
    url = told.database.url.render_as_string(hide_password=False)
    told.close()
    again = Store(url, [Subscription("shop", basis="shipment")])
    try:
        again.keep(ship24.body(item("m2", "b", 2)))
        assert [(one.basis, one.sequence) for one in take(again, "shop")] == [("events", 1), ("shipment", 2)]
    finally:
        again.close()


def test_only_the_first_change_of_a_batch_is_due_at_once(told: Store) -> None:
    told.keep(ship24.body(item("m1", "a", 1), item("m2", "b", 2), item("m3", "c", 3)))
    url = told.database.url.render_as_string(hide_password=False)
    rows = table_rows(url, "dispatches", "due_at", target="views", order="move")
    assert [row["due_at"] == BLOCKED for row in rows] == [False, True, True]


def test_a_failed_change_is_listed_with_its_basis_and_number(told: Store) -> None:
    told.keep(ship24.body(item("m1", "a", 1)))
    outbox = Outbox(told.database)
    (one,) = told.transactions.run(lambda c: outbox.exchange(c, "views", "mark", _FAR, _FAR + 1, 10)).claimed
    told.transactions.run(lambda c: outbox.settle(c, "views", _FAR, [Outcome("mark", *one.change.stored_key, "no")]))
    (dead,) = queries.list_dead(told.database, "views").items
    assert [dead[name] for name in ("basis", "sequence", "event_id", "error")] == ["shipment", 1, None, "no"]
    described = describe_targets(told.database, [ConfiguredTarget("http", subscription) for subscription in _ALL])
    assert {target["name"]: target["basis"] for target in described} == {one.target: one.basis for one in _ALL}


def test_whether_the_milestone_changed_is_about_the_view(told: Store) -> None:
    told.keep(ship24.body(item("m1", "a", 1, [ship24.event("e", statusMilestone="in_transit")])))
    told.keep(ship24.body(item("m2", "b", 2)))
    assert [one.milestone_changed for one in take(told, "views")] == [True, True]


def test_a_revision_that_is_no_change_leaves_the_view_of_the_change_before(told: Store) -> None:
    for number, courier in enumerate("xy", 1):
        event = ship24.event("e", statusMilestone="in_transit", courierCode=courier)
        told.keep(ship24.body(item(f"m{number}", f"view {number}", number, [event])))
    assert [one.shipment_milestone for one in take(told, "shop")] == ["view 1"]
    events = queries.show_tracker(told.database, "ship24", "t")["events"]
    assert [event["shipment_milestone"] for event in events] == ["view 1", "view 1"]


def test_the_basis_is_read_from_settings_and_handlers() -> None:
    def read(**more: Any) -> str:
        return read_targets([{"name": "a", "url": "https://a.example/", **more}], ["ship24"])[0].subscription.basis

    assert (read(), read(basis="shipment")) == ("events", "shipment")
    with pytest.raises(ValueError, match="a: basis: expected one of events, shipment"):
        read(basis="both")

    @on_change(basis="shipment")
    def take_view(change: Change) -> None:
        """Take a change."""

    assert subscription_of(take_view).basis == "shipment"
