"""The answer of the search."""

from pydantic import Field

from receiver.domain.verdicts import MessageOutcome
from receiver.web.api.schemas.commands import CustomerItem
from receiver.web.api.schemas.deliveries import DeliveryItem
from receiver.web.api.schemas.root import Moment, Schema
from receiver.web.api.schemas.trackers import TrackerItem


class FoundMessage(Schema):
    """A message with its verdict. `delivery_id` to `received_at` are of its first arrival."""

    source: str
    message_id: str
    tracker_id: str | None
    outcome: MessageOutcome
    reason: str | None
    delivery_id: str
    position: int
    received_at: Moment


class SearchAnswer(Schema):
    """What the search has found, by kind."""

    is_exact: bool = Field(description="`true`: all have exactly this text; `false`: they start or end with it")
    trackers: list[TrackerItem]
    messages: list[FoundMessage]
    deliveries: list[DeliveryItem] = Field(description="newest first")
    customers: list[CustomerItem]
    has_more: bool = Field(description="whether a kind has more items than `limit`")
