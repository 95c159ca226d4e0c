"""Reads responses as a sender does: whether a delivery was accepted, and the verdicts of its messages. Never fails."""

from collections.abc import Sequence
from typing import NamedTuple

from receiver.testkit.http import HttpReply, Reply, read_object
from receiver.testkit.ship24 import is_success

OUTCOMES = ("applied", "stale", "duplicate", "recorded", "quarantined")
NEW = {"applied", "stale", "recorded", "quarantined"}
"""The outcomes of a message that the receiver did not know before."""


class Reading(NamedTuple):
    """A response as a sender reads it. `verdicts` are those of the delivery's messages in order; None if it contains none."""

    accepted: bool
    verdicts: tuple[str, ...] | None


def read_answer(reply: Reply, message_ids: Sequence[str]) -> Reading:
    """Read the response to a delivery of these messages."""
    if not isinstance(reply, HttpReply) or not is_success(reply):
        return Reading(accepted=False, verdicts=None)
    answer = read_object(reply.body) or {}
    return Reading(accepted=True, verdicts=_read_verdicts(answer.get("messages"), message_ids))


def _read_verdicts(messages: object, message_ids: Sequence[str]) -> tuple[str, ...] | None:
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        return None
    if [each.get("message_id") for each in messages] != list(message_ids):
        return None
    outcomes = [each.get("outcome") for each in messages]
    return tuple(str(outcome) for outcome in outcomes) if all(outcome in OUTCOMES for outcome in outcomes) else None
