"""What a sender reads in an answer, and what it takes for a success. Pure; nothing in an answer can make it fail."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from receiver.testkit.simulate.wire import WireReply

OUTCOMES = ("applied", "stale", "duplicate", "recorded", "quarantined")
NEW = {"applied", "stale", "recorded", "quarantined"}
"""What is answered of a message that was not known before."""


class Reading(NamedTuple):
    """An answer as a sender takes it. `verdicts` are those of the call's messages in their order, None if it tells none."""

    taken: bool
    verdicts: tuple[str, ...] | None


def read_answer(reply: WireReply, message_ids: Sequence[str]) -> Reading:
    """Read an answer.

    Source: Ship24 documentation, "Webhooks": any 2xx is a success; a redirect is none. Read from the vendor's own code: nor is a
    2xx whose JSON says `success: false`, as a boolean or as text.
    """
    if reply.status is None or not 200 <= reply.status < 300:
        return Reading(taken=False, verdicts=None)
    root = _read_object(reply.body)
    if str(root.get("success")).lower() == "false":
        return Reading(taken=False, verdicts=None)
    return Reading(taken=True, verdicts=_read_verdicts(root.get("messages"), message_ids))


def _read_object(body: bytes | None) -> dict[str, Any]:
    try:
        root = json.loads(body or b"")
    except (ValueError, RecursionError):
        return {}
    return root if isinstance(root, dict) else {}


def _read_verdicts(told: object, message_ids: Sequence[str]) -> tuple[str, ...] | None:
    if not isinstance(told, list) or not all(isinstance(each, dict) for each in told):
        return None
    if [each.get("message_id") for each in told] != list(message_ids):
        return None
    outcomes = [each.get("outcome") for each in told]
    return tuple(str(outcome) for outcome in outcomes) if all(outcome in OUTCOMES for outcome in outcomes) else None
