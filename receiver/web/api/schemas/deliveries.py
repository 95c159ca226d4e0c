"""Deliveries and the quarantine."""

from typing import Any

from pydantic import Field

from receiver.domain.imports import Origin
from receiver.domain.verdicts import DeliveryOutcome, MessageOutcome
from receiver.web.api.schemas.root import Moment, Schema
from receiver.web.api.schemas.trackers import QuarantinedPart


class DeliveryItem(Schema):
    """A delivery in a list: sender, request and our answer. The fields from `received` to `quarantined` count messages."""

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
    outcome: DeliveryOutcome
    code: str | None
    reason: str | None
    body_bytes: int
    received: int
    applied: int
    stale: int
    duplicate: int
    recorded: int
    quarantined: int
    test_run: str | None = Field(description="the run of the test that sent it; null: it is a real delivery")
    cause: str | None = Field(description="the cause of a 401, such as `api_key`; `note` says which token or place it is about")
    origin: Origin = Field(description="`webhook`: its sender made it; otherwise an operator brought it in")
    sent_at: Moment | None = Field(description="when the body was first sent, if an import says so")
    body_number: int | None = Field(description="number of the body in the imported file")


class ItemVerdict(Schema):
    """The verdict on one item of a delivery."""

    position: int
    message_id: str | None
    tracker_id: str | None
    outcome: MessageOutcome
    reason: str | None


class DeliveryAnswer(DeliveryItem):
    """A whole delivery. `body` is its exact text, `body_base64` its bytes if they are not UTF-8; both are null once pruned."""

    headers: list[tuple[str, str]]
    body: str | None
    body_base64: str | None
    answer: dict[str, Any] | None
    messages: list[ItemVerdict]
    explanation: list[str]


class QuarantineItem(QuarantinedPart):
    """A message or event in quarantine, with the beginning of its content."""

    source: str
    message_id: str | None
    tracker_id: str | None
    test_run: str | None = Field(description="the run of the test that sent it; null: it is real")
    raw: str
    raw_bytes: int
