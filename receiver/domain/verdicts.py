"""Verdicts and their words: the outcomes of messages and events, the outcomes of deliveries, and the reasons.

These words are listed here and nowhere else. `batch` and `revisions` decide which verdict a message or an event gets.
"""

from typing import Literal, NamedTuple, TypeAlias, get_args

MessageOutcome: TypeAlias = Literal["applied", "stale", "duplicate", "recorded", "quarantined"]
"""The outcome of a message or an event."""

DeliveryOutcome: TypeAlias = Literal["accepted", "refused", "unreadable", "failed"]
"""The outcome of a delivery: stored and decided; rejected before its body was read; not understood; our own fault."""

OUTCOMES: tuple[str, ...] = get_args(MessageOutcome)
"""The best one first. A message has the best outcome among its events."""

DELIVERY_OUTCOMES: tuple[str, ...] = get_args(DeliveryOutcome)

QUARANTINE_REASONS = (
    *("not_an_object", "too_deep", "missing_message_id", "missing_tracker_id", "events_not_a_list", "missing_occurrence"),
    *("bad_occurrence", "implausible_future", "unmapped", "undecidable", "not_of_test", "test_of_real_tracker"),
)


class Verdict(NamedTuple):
    """The outcome of a message or an event, and why: `reason` is one word, `detail` a sentence for the sender."""

    outcome: str
    reason: str | None = None
    detail: str | None = None


APPLIED = Verdict("applied")
REVISED = Verdict("applied", "revised")
OLDER = Verdict("stale", "older")
TIE = Verdict("stale", "tie")
SUPERSEDED = Verdict("stale", "superseded")
DUPLICATE = Verdict("duplicate")
CONTENT_DIFFERS = Verdict("duplicate", "content_differs")
RECORDED = Verdict("recorded")
IMPLAUSIBLE_FUTURE = Verdict("quarantined", "implausible_future")

_RANK: dict[str, int] = {outcome: rank for rank, outcome in enumerate(OUTCOMES)}


def rank_verdict(verdict: Verdict) -> int:
    """Return the rank of a verdict's outcome: 0 is the best one."""
    return _RANK[verdict.outcome]


def better_verdict(before: Verdict, after: Verdict) -> Verdict:
    """Return the final verdict of a message that is decided again.

    Its stored events are duplicates now, so the new verdict may be a worse one. Then the first verdict stays.
    """
    return after if before.outcome == "quarantined" else min(before, after, key=rank_verdict)
