"""The worker of one target, on a real database and with a server that fails in every way."""

from collections.abc import Sequence

import pytest

from receiver.domain.changes import Subscription
from receiver.relay.http import HttpTarget
from receiver.relay.retry import RetryPolicy
from receiver.relay.target import AT_ONCE
from tests.harness import ship24
from tests.harness.changes import SECRET, secrets, target
from tests.harness.endpoint import HANG, TAKE, Answer, Call, Endpoint, answering, say
from tests.harness.relay import QUICK, relaying
from tests.harness.rows import Row, count_rows, table_rows
from tests.harness.service import wait_until
from tests.harness.storage import delete_rows, make_tables
from tests.harness.store import Store

FAR = 100_000.0


@pytest.fixture
def url(database_url: str) -> str:
    """A database of each kind, with tables."""
    make_tables(database_url)
    return database_url


def keep(url: str, places: Sequence[tuple[str, int]], *names: str) -> None:
    """Keep a change for each tracker and hour, wanted by the target `shop` and the others named."""
    store = Store(url, [Subscription("shop"), *map(Subscription, names)])
    events = [ship24.body(ship24.item(tracker_id=tracker, events=[ship24.event(occurrence=f"2025-03-01T{hour:02}:00:00")]))
              for tracker, hour in places]  # fmt: skip
    store.keep(*events)
    store.close()


def shop(endpoint: Endpoint, name: str = "shop", seconds: float = 10.0) -> HttpTarget:
    return HttpTarget(target(endpoint.url, seconds=seconds)._replace(subscription=Subscription(name)), secrets(SECRET))


def rows(url: str) -> list[Row]:
    return table_rows(url, "dispatches", order="tracker_id, move", target="shop")


def test_a_failing_target_gets_each_trackers_changes_in_order_and_none_is_lost(url: str) -> None:
    keep(url, [(f"t{number % 10}", number // 10) for number in range(50)])
    failed: dict[str, int] = {}

    def choose(call: Call) -> Answer:
        message_id = call.headers["webhook-id"]
        failed[message_id] = failed.get(message_id, 0) + 1
        return TAKE if failed[message_id] > call.change["sequence"] % 3 else say(500)

    with answering(choose=choose) as endpoint, relaying(url, shop(endpoint)):
        wait_until(lambda: rows(url) == [], "everything was taken")
        expected = [move for move in range(1, 6) for _ in range(1 + move % 3)]
        assert {f"t{number}": endpoint.moves(f"t{number}") for number in range(10)} == {f"t{n}": expected for n in range(10)}


def test_one_trackers_failure_holds_up_no_other(url: str) -> None:
    keep(url, [(tracker, hour) for hour in range(3) for tracker in ("bad", "good")])

    def choose(call: Call) -> Answer:
        return say(500) if call.change["tracker_id"] == "bad" else TAKE

    with answering(choose=choose) as endpoint, relaying(url, shop(endpoint), policy=QUICK._replace(delays_seconds=(FAR,))):
        wait_until(lambda: endpoint.moves("good") == [1, 2, 3], "the good tracker goes on")
        wait_until(lambda: rows(url)[0]["error"] is not None, "the failure is on record")
        assert endpoint.moves("bad") == [1]
    assert [(row["move"], row["attempts"], row["error"]) for row in rows(url)] == [
        (1, 1, "shop answered 500. The answer begins: fine"),
        (2, 0, None),
        (3, 0, None),
    ]


def test_a_dead_target_costs_nothing_and_uses_up_nothing(url: str) -> None:
    keep(url, [(f"t{number}", 1) for number in range(100)], "alive")
    policy = RetryPolicy(pauses_seconds=(FAR,), poll_seconds=0.02)
    with answering(say(500)) as dead, answering() as alive:
        with relaying(url, shop(dead), shop(alive, "alive"), policy=policy):
            wait_until(lambda: sum(row["error"] is not None for row in rows(url)) == AT_ONCE, "the first ones have failed")
            wait_until(lambda: len(alive.calls) == 100, "another target gets everything meanwhile")
        assert len(dead.calls) == AT_ONCE
    assert sorted(row["attempts"] for row in rows(url)) == [0] * (100 - AT_ONCE) + [1] * AT_ONCE


def test_changes_of_a_claim_whose_result_was_lost_do_not_wait_for_the_end_of_their_lease(url: str) -> None:
    keep(url, [("t1", 1), ("t2", 1)])
    with answering() as endpoint, relaying(url, shop(endpoint, seconds=FAR), lost_results=3):
        wait_until(lambda: rows(url) == [], "everything was taken")
    assert sorted(call.change["tracker_id"] for call in endpoint.calls) == ["t1", "t2"]


def test_a_target_that_hangs_holds_up_no_other(url: str) -> None:
    keep(url, [(f"t{number}", 1) for number in range(100)], "alive")
    with answering(HANG) as dead, answering() as alive, relaying(url, shop(dead, seconds=1.0), shop(alive, "alive")):
        wait_until(lambda: len(dead.calls) >= AT_ONCE, "all calls to it hang")
        wait_until(lambda: len(alive.calls) == 100, "another target gets everything")
        assert sum(row["claim"] is not None for row in rows(url)) <= AT_ONCE, "what cannot go out yet is left to others"


def test_a_target_that_was_down_gets_everything(url: str) -> None:
    keep(url, [(f"t{number % 50}", number // 50) for number in range(100)])
    back: list[bool] = []
    policy = QUICK._replace(failure_limit=5, pauses_seconds=(0.02,))
    with answering(choose=lambda _: TAKE if back else say(500)) as endpoint, relaying(url, shop(endpoint), policy=policy):
        wait_until(lambda: len(endpoint.calls) > AT_ONCE + 3, "it is tried now and then")
        back.append(True)
        wait_until(lambda: rows(url) == [], "everything was taken")
        assert all(list(dict.fromkeys(endpoint.moves(f"t{number}"))) == [1, 2] for number in range(50))


def test_retry_after_gives_the_change_and_the_target_a_rest(url: str) -> None:
    keep(url, [(f"t{number}", 1) for number in range(100)], "alive")
    policy = QUICK._replace(max_rest_seconds=FAR)
    with (
        answering(say(429, "Retry-After: 3600")) as busy,
        answering() as alive,
        relaying(url, shop(busy), shop(alive, "alive"), policy=policy),
    ):
        wait_until(lambda: sum(row["error"] is not None for row in rows(url)) == AT_ONCE, "the first ones were answered")
        wait_until(lambda: len(alive.calls) == 100, "another target gets everything meanwhile")
    tried = [row for row in rows(url) if row["attempts"]]
    assert len(busy.calls) == len(tried) == AT_ONCE
    assert min(row["due_at"] for row in tried) - min(call.at for call in busy.calls) >= 3_600_000_000


def test_a_target_that_answers_410_is_stopped_until_it_is_resumed(url: str) -> None:
    keep(url, [("t", hour) for hour in range(3)])
    with answering(say(410), TAKE) as endpoint, relaying(url, shop(endpoint)) as relay:
        wait_until(lambda: count_rows(url, "stopped_targets"), "it is stopped")
        wait_until(lambda: rows(url)[0]["error"] is not None, "the answer is on record")
        relay.wake()
        (stopped,) = table_rows(url, "stopped_targets")
        assert (stopped["target"], stopped["reason"]) == ("shop", "shop answered 410 and gets no more changes.")
        assert endpoint.moves("t") == [1]
        delete_rows(url, "stopped_targets")
        wait_until(lambda: rows(url) == [], "everything was taken")
        assert endpoint.moves("t") == [1, 1, 2, 3]


def test_after_its_last_try_a_change_is_set_aside_and_the_next_one_goes(url: str) -> None:
    keep(url, [("t", 1), ("t", 2)])
    policy = QUICK._replace(delays_seconds=(0.01, 0.01))
    with answering(say(500), say(500), say(500), TAKE) as endpoint, relaying(url, shop(endpoint), policy=policy):
        wait_until(lambda: rows(url) == [], "nothing waits")
        assert endpoint.moves("t") == [1, 1, 1, 2]
    (dead,) = table_rows(url, "dead_changes")
    assert (dead["target"], dead["move"], dead["attempts"], dead["error"]) == (
        "shop",
        1,
        3,
        "shop answered 500. The answer begins: fine",
    )


def test_what_takes_too_long_is_said_in_words(url: str) -> None:
    keep(url, [("t", 1)])
    policy = QUICK._replace(delays_seconds=(FAR,))
    with answering(HANG) as endpoint, relaying(url, shop(endpoint, seconds=0.2), policy=policy):
        wait_until(lambda: rows(url)[0]["error"] is not None, "it is on record")
    assert rows(url)[0]["error"] == "It did not take the change within 0.2 seconds."


def test_an_outcome_that_cannot_be_stored_harms_no_other(url: str) -> None:
    keep(url, [("bad", 1), *((f"t{number}", 1) for number in range(10))])

    def choose(call: Call) -> Answer:
        return say(418) if call.change["tracker_id"] == "bad" else TAKE

    with (
        answering(choose=choose) as endpoint,
        relaying(url, shop(endpoint), policy=QUICK._replace(delays_seconds=(FAR,)), refused_error="418"),
    ):
        wait_until(lambda: [(row["tracker_id"], row["attempts"]) for row in rows(url)] == [("bad", 1)], "all were put down")
    assert rows(url)[0]["error"] == "The error cannot be stored; the log says why."
    assert sorted(change["tracker_id"] for change in endpoint.changes) == ["bad", *(f"t{number}" for number in range(10))]
