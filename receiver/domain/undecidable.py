"""Messages that our own code or the database fails on: they are set aside, and the others of their delivery go on. Pure."""

from collections.abc import Callable

from receiver.domain.records import Message, Submission

UNDECIDABLE = "undecidable"
"""The reason of such a message in quarantine."""

_MAX_ATTEMPTS = 40
_DETAIL = "Internal error. Replay this delivery after an update."


def set_aside(submission: Submission, fails: Callable[[Submission], bool]) -> Submission:
    """Return a delivery that fails with the messages that cause it made harmless. `fails` tells whether such a delivery fails.

    Halves are tried until single messages remain. The number of attempts is bounded, so that no sender holds up others: in a
    delivery with many such messages, others are made harmless too. So are all if messages fail only together.
    """
    attempts, found = 0, set[int]()
    failing: list[tuple[Message, ...]] = [submission.messages]
    while failing:
        part = failing.pop()
        if len(part) <= 1 or attempts >= _MAX_ATTEMPTS:
            found |= {message.position for message in part}
            continue
        attempts += 2
        halves = part[: len(part) // 2], part[len(part) // 2 :]
        failing += [half for half in halves if fails(submission._replace(messages=half))]
    aside = _make_harmless(submission, found)
    if len(found) == len(submission.messages) or not fails(aside):
        return aside
    return _make_harmless(submission, {message.position for message in submission.messages})


def _make_harmless(submission: Submission, positions: set[int]) -> Submission:
    """Return a delivery in which some messages go to quarantine with their bytes and without a decision."""
    messages = [
        Message(message.position, message.raw, message.digest, quarantine_reason=UNDECIDABLE, detail=_DETAIL)
        if message.position in positions
        else message
        for message in submission.messages
    ]
    return submission._replace(messages=tuple(messages))
