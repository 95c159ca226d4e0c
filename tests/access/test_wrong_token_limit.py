"""The limit of wrong tokens for each address."""

from ipaddress import IPv6Address, ip_address

from hypothesis import given
from hypothesis import strategies as st

from receiver.access.wrong_token_limit import WRONG_TOKENS_AT_ONCE, WrongTokenLimit
from tests.harness.table import each_row

NOW = 1000.0


def test_ten_are_free_and_then_one_in_ten_seconds() -> None:
    attempts, client = WrongTokenLimit(), ip_address("192.0.2.1")
    assert [attempts.take(client, NOW) for _ in range(12)] == [0] * 10 + [10, 10]
    assert attempts.take(client, NOW + 4) == 6
    assert [attempts.take(client, NOW + 10.5) for _ in range(2)] == [0, 10]


@each_row(
    ("one", "other", "together"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:0:8000::1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("2001:db8::1", "192.0.2.1", False),
    ],
)
def test_an_ipv6_network_counts_as_one_address(one: str, other: str, together: bool) -> None:
    attempts = WrongTokenLimit()
    for _ in range(WRONG_TOKENS_AT_ONCE):
        attempts.take(ip_address(one), NOW)
    assert (attempts.take(ip_address(other), NOW) > 0) is together


def test_those_without_an_address_count_together() -> None:
    attempts = WrongTokenLimit()
    for _ in range(WRONG_TOKENS_AT_ONCE):
        attempts.take("an entry of X-Forwarded-For is not an address", NOW)
    assert attempts.take("the connection has no address", NOW) > 0


def test_very_many_addresses_take_bounded_memory_and_share_one_limit() -> None:
    attempts = WrongTokenLimit(max_addresses=50)
    waits = [attempts.take(IPv6Address(number << 64), NOW) for number in range(1000)]
    assert len(attempts) == 50
    assert waits.count(0) == 50 + WRONG_TOKENS_AT_ONCE
    assert attempts.take(IPv6Address(0), NOW) == 0, "one that is remembered has its own limit"


def test_ten_thousand_addresses_are_counted_separately_and_no_more() -> None:
    attempts = WrongTokenLimit()
    for number in range(10_000 + WRONG_TOKENS_AT_ONCE):
        assert attempts.take(IPv6Address(number << 64), NOW) == 0
    assert len(attempts) == 10_000
    assert attempts.take(IPv6Address(1 << 100), NOW) > 0


def test_a_limited_address_is_not_forgotten_for_later_ones() -> None:
    attempts, client = WrongTokenLimit(max_addresses=50), ip_address("192.0.2.1")
    for _ in range(WRONG_TOKENS_AT_ONCE):
        attempts.take(client, NOW)
    for number in range(1000):
        attempts.take(IPv6Address(number << 64), NOW)
    assert attempts.take(client, NOW) > 0


def test_addresses_are_forgotten_when_their_bucket_is_full_again() -> None:
    attempts = WrongTokenLimit(max_addresses=50)
    for number in range(1000):
        attempts.take(IPv6Address(number << 64), NOW)
    assert attempts.take(ip_address("192.0.2.1"), NOW + 100) == 0
    assert len(attempts) == 1


def test_a_limited_address_is_not_forgotten_with_those_whose_attempts_have_come_back() -> None:
    attempts, limited = WrongTokenLimit(), ip_address("192.0.2.2")
    attempts.take(ip_address("192.0.2.1"), NOW)
    for _ in range(WRONG_TOKENS_AT_ONCE):
        attempts.take(limited, NOW + 5)
    attempts.take(ip_address("192.0.2.3"), NOW + 11)
    assert len(attempts) == 2
    assert attempts.take(limited, NOW + 11) > 0


def test_an_address_that_comes_back_keeps_no_other_one_remembered() -> None:
    attempts, again = WrongTokenLimit(), ip_address("192.0.2.1")
    for client in (again, ip_address("192.0.2.2"), *[again] * WRONG_TOKENS_AT_ONCE):
        attempts.take(client, NOW)
    attempts.take(ip_address("192.0.2.3"), NOW + 11)
    assert len(attempts) == 2


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 20)), max_size=200))
def test_no_address_gets_more_than_the_burst_and_the_rate(tries: list[tuple[int, float]]) -> None:
    attempts, at, granted = WrongTokenLimit(max_addresses=3), NOW, dict.fromkeys(range(6), 0)
    for number, pause in tries:
        at += pause
        granted[number] += attempts.take(IPv6Address(number << 64), at) == 0
    assert max(granted.values()) <= 2 * (WRONG_TOKENS_AT_ONCE + (at - NOW) / 10) + 1  # its own limit, and the one that many share
