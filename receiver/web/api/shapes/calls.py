"""Calls, and what of them was set apart."""

from typing import Any

from receiver.web.api.shapes.parcels import QuarantinedPart
from receiver.web.api.shapes.root import CallOutcome, Moment, Outcome, Schema


class DeliveryItem(Schema):
    """A call in a list: who, what, our answer; the last six are numbers of messages."""

    id: str
    source: str
    kind: str
    method: str
    path: str
    received_at: Moment
    decided_at: Moment
    peer: str | None
    client: str | None
    token: str | None
    note: str | None
    status: int
    outcome: CallOutcome
    code: str | None
    reason: str | None
    body_bytes: int
    received: int
    applied: int
    stale: int
    duplicate: int
    recorded: int
    quarantined: int


class ItemVerdict(Schema):
    """What became of one item of a call."""

    position: int
    message_id: str | None
    tracker_id: str | None
    outcome: Outcome
    reason: str | None


class DeliveryAnswer(DeliveryItem):
    """A call whole. `body` is its exact text, `body_base64` its bytes where they are not UTF-8; both null once pruned."""

    headers: list[tuple[str, str]]
    body: str | None
    body_base64: str | None
    answer: dict[str, Any] | None
    messages: list[ItemVerdict]
    story: list[str]


class QuarantineItem(QuarantinedPart):
    """Something set apart, with the beginning of its content."""

    source: str
    message_id: str | None
    tracker_id: str | None
    raw: str
    raw_bytes: int


class DeliveryList(Schema):
    """A page of calls."""

    items: list[DeliveryItem]
    next: str | None


class QuarantineList(Schema):
    """A page of what was set apart."""

    items: list[QuarantineItem]
    next: str | None
