"""A change that is sent again by hand has its id and sequence, and goes before what waits for its tracker."""

from collections.abc import Iterator, Sequence

import pytest

from receiver.clock import to_micros
from receiver.domain.changes import Subscription
from receiver.errors import NotFound
from receiver.storage.outbox import Acknowledgement, Claimed, Outcome
from receiver.storage.resending import Resent
from receiver.writer.commands.changes import ExchangeChanges, ResendChange
from tests.harness import ship24
from tests.harness.rows import table_rows
from tests.harness.storage import make_tables
from tests.harness.store import NOW, Store

_NOW = to_micros(NOW)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    make_tables(database_url)
    opened = Store(database_url, [Subscription("shop"), Subscription("erp")])
    for hour in (10, 11, 12):
        event = ship24.event(f"e{hour}", occurrence=f"2025-03-01T{hour:02}:00:00")
        opened.keep(ship24.body(ship24.item(tracker_id="t", events=[event])))
    yield opened
    opened.close()


def claim(store: Store, target: str = "shop", at: int = _NOW) -> Sequence[Claimed]:
    exchanged = store.executor.do(ExchangeChanges(target, f"relay.{target}.{at}", at, at + 60_000_000, 10))
    return exchanged.claimed or (claim(store, target, at + 1) if exchanged.blocked else [])


def settle(store: Store, claimed: Claimed, target: str = "shop", error: str | None = None) -> None:
    taken = None if error else Acknowledgement(claimed.change.id, 1)
    outcome = Outcome(claimed.mark, *claimed.change.stored_key, error, None, taken)
    store.executor.do(ExchangeChanges(target, "none", _NOW, _NOW, 0, [outcome]))


def resend(
    store: Store, target: str | None = "shop", sequence: int | None = None, known: Sequence[str] = ("shop", "erp")
) -> Resent:
    return store.executor.do(ResendChange("ship24", "t", target, "events", sequence, known, _NOW))


def test_a_delivered_change_is_sent_again_with_its_id_before_what_waits_for_its_tracker(store: Store) -> None:
    (first,) = claim(store)
    settle(store, first)
    assert resend(store, sequence=1) == Resent(first.change.id, "events", 1, ("shop",))
    (again,) = claim(store, at=_NOW + 9)
    assert (again.change, again.attempts) == (first.change, 1)
    settle(store, again)
    assert [one.change.sequence for one in claim(store, at=_NOW + 99)] == [2]


def test_a_dead_change_waits_again_and_one_that_waits_is_not_queued_twice(store: Store, database_url: str) -> None:
    (first,) = claim(store)
    settle(store, first, error="it is given up")
    assert resend(store, sequence=1).targets == ("shop",)
    assert table_rows(database_url, "dead_changes") == []
    assert resend(store, sequence=1).targets == ()
    assert len(table_rows(database_url, "dispatches")) == 6


def test_without_a_target_all_get_it_that_have_a_record_of_it(store: Store) -> None:
    with pytest.raises(NotFound, match="No target of the settings has a record"):
        resend(store, None, 1)
    for target in ("shop", "erp"):
        (claimed,) = claim(store, target)
        settle(store, claimed, target)
    assert resend(store, None, 1, known=["shop"]).targets == ("shop",), "nobody serves a target that was removed"
    with pytest.raises(NotFound, match="No target of the settings has a record"):
        resend(store, None, 1, known=["another"])
    assert resend(store, None, 1).targets == ("erp",), "it waits for the other one already"


def test_without_a_number_it_is_the_last_change_and_an_unknown_one_is_not_found(store: Store) -> None:
    assert (resend(store).sequence, resend(store, sequence=2).sequence) == (3, 2)
    with pytest.raises(NotFound, match="no change 4"):
        resend(store, sequence=4)
    with pytest.raises(NotFound, match="no change"):
        store.executor.do(ResendChange("ship24", "unknown", "shop", "events", None, ["shop"], _NOW))
