"""When a change is retried, and when a target is paused."""

from hypothesis import given
from hypothesis import strategies as st

from receiver.relay.retry import DEFAULT_POLICY, DELAYS_SECONDS, Circuit, RetryPolicy, next_try

NOW = 1_000_000_000_000_000
SECOND = 1_000_000
chances = st.floats(0, 1, exclude_max=True)


def seconds_until(due_at: int | None) -> float:
    assert due_at is not None
    return (due_at - NOW) / SECOND


def failing(circuit: Circuit, times: int, at: int = NOW) -> Circuit:
    for _ in range(times):
        circuit = circuit.failed(at)
    return circuit


@given(st.integers(1, len(DELAYS_SECONDS)), chances)
def test_each_try_comes_after_its_delay_give_or_take_a_fifth(attempts: int, chance: float) -> None:
    delay = DELAYS_SECONDS[attempts - 1]
    assert 0.8 * delay <= seconds_until(next_try(attempts, NOW, chance)) <= 1.2 * delay


def test_tries_go_on_for_three_days_and_then_end() -> None:
    assert 3 * 86_400 <= sum(DELAYS_SECONDS) <= 4 * 86_400
    assert list(DELAYS_SECONDS) == sorted(DELAYS_SECONDS)
    assert next_try(len(DELAYS_SECONDS), NOW, 0.5) is not None
    assert next_try(len(DELAYS_SECONDS) + 1, NOW, 0.5) is None
    assert next_try(len(DELAYS_SECONDS) + 1, NOW, 0.5, 60) is None


@given(st.integers(1, len(DELAYS_SECONDS)), chances, st.floats(0, 1e12))
def test_retry_after_delays_a_retry_but_never_shortens_our_own_delay(attempts: int, chance: float, asked: float) -> None:
    waited = seconds_until(next_try(attempts, NOW, chance, asked))
    wanted = max(DELAYS_SECONDS[attempts - 1], min(asked, 86_400))
    assert wanted - 1e-6 <= waited <= 1.2 * wanted


def test_a_target_is_spared_after_five_failures_in_a_row() -> None:
    circuit = failing(Circuit(), 4)
    assert circuit.room(NOW, 32) == 32
    circuit = circuit.failed(NOW)
    assert (circuit.room(NOW, 32), circuit.blocked_for(NOW)) == (0, 10)
    assert circuit.room(NOW + 10 * SECOND - 1, 32) == 0
    assert circuit.room(NOW + 10 * SECOND, 32) == 1


def test_one_success_is_enough_to_serve_it_again() -> None:
    assert failing(Circuit(), 4).succeeded() == Circuit()
    assert failing(Circuit(), 20).succeeded().room(NOW, 32) == 32


def test_what_fails_together_counts_once() -> None:
    together = failing(Circuit(), 32)
    assert together == failing(Circuit(), 5)
    assert together.blocked_for(NOW) == 10


def test_pauses_grow_with_each_call_that_fails_after_one() -> None:
    circuit, now, pauses = failing(Circuit(), 5), NOW, []
    for _ in range(6):
        pauses.append(circuit.blocked_for(now))
        now += int(pauses[-1] * SECOND)
        assert circuit.room(now, 32) == 1
        circuit = circuit.failed(now)
    assert pauses == [10, 30, 60, 120, 300, 300]


def test_a_target_that_asks_for_it_has_a_rest_from_everything_but_not_for_long() -> None:
    asked = Circuit().failed(NOW, 60)
    assert (asked.room(NOW, 32), asked.room(NOW + 60 * SECOND, 32)) == (0, 32)
    assert asked.succeeded().room(NOW, 32) == 0, "what was under way before says nothing about it"
    assert asked.failed(NOW, 1).blocked_for(NOW) == 60, "a shorter one does not end it"
    assert Circuit().failed(NOW, 86_400).blocked_for(NOW) == DEFAULT_POLICY.max_rest_seconds
    assert Circuit().failed(NOW, 0).room(NOW, 32) == 32


@given(st.lists(st.tuples(st.integers(0, 100), st.one_of(st.none(), st.booleans(), st.floats(0, 1000)))))
def test_a_pause_never_exceeds_five_minutes(steps: list[tuple[int, bool | float | None]]) -> None:
    circuit, now = Circuit(), NOW
    for seconds, step in steps:
        now += seconds * SECOND
        circuit = circuit.succeeded() if step is True else circuit.failed(now, None if step in {None, False} else step)
        assert circuit.blocked_for(now) <= 300
        assert (circuit.room(now, 32) == 0) == (circuit.blocked_for(now) > 0)
        assert circuit.room(now + 300 * SECOND, 32) >= 1


def test_a_pace_can_be_another_one() -> None:
    policy = RetryPolicy(delays_seconds=(1,), failure_limit=1, pauses_seconds=(7,))
    assert Circuit(policy).failed(NOW).blocked_for(NOW) == 7
    assert next_try(2, NOW, 0.5, delays=policy.delays_seconds) is None
