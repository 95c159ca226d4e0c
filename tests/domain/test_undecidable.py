"""Messages that are set aside because something fails on them, and the others beside them."""

from collections.abc import Callable

from receiver.domain.records import Message, Submission
from receiver.domain.undecidable import set_aside
from tests.harness.store import delivery
from tests.harness.table import each_row

Fails = Callable[[set[int]], bool]


def aside(number: int, fails: Fails) -> tuple[list[int], int]:
    """Return the positions of the messages that are set aside of so many, and the number of attempts."""
    attempts: list[set[int]] = []

    def attempt(part: Submission) -> bool:
        attempts.append({each.position for each in part.messages if each.quarantine_reason is None})
        return fails(attempts[-1])

    messages = tuple([Message(position, b"raw", "digest", f"m{position}", "t") for position in range(number)])
    found = set_aside(Submission(delivery(b""), messages), attempt).messages
    assert [(each.position, each.raw, each.digest) for each in found] == [(place, b"raw", "digest") for place in range(number)]
    assert all((each.message_id is None) == (each.quarantine_reason == "undecidable") for each in found)
    return [each.position for each in found if each.message_id is None], len(attempts)


@each_row(
    ("number", "bad", "attempts"),
    [(1, {0}, 0), (2, {1}, 3), (7, {3}, 7), (100, {0, 50, 99}, 41), (10_000, {9_999}, 29)],
)
def test_only_the_messages_that_fail_are_set_aside(number: int, bad: set[int], attempts: int) -> None:
    found, made = aside(number, lambda part: bool(part & bad))
    assert (found, made <= attempts) == (sorted(bad), True)


def test_with_very_many_that_fail_the_attempts_are_bounded_and_all_that_fail_are_set_aside() -> None:
    bad = set(range(0, 10_000, 3))
    found, made = aside(10_000, lambda part: bool(part & bad))
    assert (bad <= set(found), made <= 41) == (True, True)


def test_messages_that_fail_only_together_are_all_set_aside() -> None:
    assert aside(4, lambda part: {0, 3} <= part) == ([0, 1, 2, 3], 3)
