"""The token bucket that bounds how many rejected deliveries are recorded one by one."""

from hypothesis import given
from hypothesis import strategies as st

from receiver.access.rate_limit import TokenBucket
from tests.harness.table import each_row

START = 1_000_000.0


def taken(bucket: TokenBucket, at: float, times: int) -> int:
    return sum(bucket.take(at) for _ in range(times))


def test_a_burst_is_recorded_and_no_more() -> None:
    assert taken(TokenBucket(burst=100), START, 1000) == 100


@each_row("start", [0.0, START], ids=["a clock at zero", "a clock that runs for long"])
def test_the_first_burst_is_whole_at_any_clock_reading(start: float) -> None:
    assert taken(TokenBucket(burst=3), start, 10) == 3


@each_row(
    ("later", "more"),
    [(0.0, 0), (0.25, 0), (0.5, 1), (0.75, 1), (1.0, 2), (4.5, 9), (5.0, 10), (3600.0, 10)],
)
def test_the_bucket_fills_again_with_time_and_never_beyond_the_burst(later: float, more: int) -> None:
    bucket = TokenBucket(burst=10, per_second=2.0)
    assert taken(bucket, START, 10) == 10
    assert taken(bucket, START + later, 50) == more


def test_parts_of_a_record_add_up() -> None:
    bucket = TokenBucket(burst=1, per_second=1.0)
    assert [bucket.take(START + quarter / 4) for quarter in range(9)] == [True, *[False] * 3, True, *[False] * 3, True]


def test_what_is_not_there_cannot_be_taken_in_advance() -> None:
    bucket = TokenBucket(burst=1, per_second=1.0)
    assert taken(bucket, START, 1000) == 1
    assert taken(bucket, START + 1, 1) == 1


@given(st.lists(st.floats(0, 10), max_size=200), st.integers(1, 20), st.integers(1, 5))
def test_a_flood_leaves_no_more_than_the_burst_and_the_rate(pauses: list[float], burst: int, per_second: int) -> None:
    bucket, at, recorded = TokenBucket(burst, per_second), START, 0
    for pause in pauses:
        at += pause
        recorded += bucket.take(at)
    assert recorded <= burst + (at - START) * per_second + 1e-6
