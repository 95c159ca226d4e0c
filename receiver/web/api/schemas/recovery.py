"""The answers about downtimes and reconciliations."""

from typing import Any

from receiver.domain.downtime import DowntimeKind
from receiver.web.api.schemas.root import Moment, Schema


class DowntimeItem(Schema):
    """A time in which deliveries may have been lost. `ended_at` null: it goes on; `source` null: of all sources.

    `command` brings in what was lost; null where no vendor can be asked.
    """

    began_at: Moment
    ended_at: Moment | None
    kind: DowntimeKind
    source: str | None
    command: str | None


class FindingItem(Schema):
    """A number of trackers, and the first of them."""

    number: int
    examples: list[str]


class ReconcileReportAnswer(Schema):
    """What was found: numbers of trackers, unless the name says otherwise.

    `delivered_elsewhere` are messages that the vendor calls delivered, to one of `urls`, and that never came here. `differing`
    are Shiipp's manifests with another status in an export than here; `failed` are rows of an export, or trackers.
    """

    examined: int
    complete: int
    messages: int
    events: int
    built_events: int
    delivered_elsewhere: int
    urls: list[str]
    repaired: FindingItem
    only_here: FindingItem
    without_history: FindingItem
    unknown: FindingItem
    resent: FindingItem
    failed: FindingItem
    differing: FindingItem


class ReconciliationItem(Schema):
    """A reconciliation. `ended_at` is null until it is complete; `problem` says why it stopped; `position` is for the service."""

    id: str
    source: str
    actor: str
    began_at: Moment
    updated_at: Moment
    ended_at: Moment | None
    problem: str | None
    request: dict[str, Any]
    position: dict[str, Any]
    report: ReconcileReportAnswer


class ReconcileAnswer(ReconciliationItem):
    """A reconciliation, and whether it goes on in this service."""

    goes_on: bool
