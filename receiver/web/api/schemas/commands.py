"""The answers to commands."""

from typing import Literal

from pydantic import Field

from receiver.domain.customer_changes import ChangeKind
from receiver.domain.verdicts import MessageOutcome
from receiver.web.api.schemas.root import Moment, Schema


class WindowAnswer(Schema):
    """The end of a setup window: until then a source may send from any address."""

    source: str
    closes_at: Moment


class CustomerItem(Schema):
    """A customer in Shiipp's format."""

    UserCode: str
    FirstName: str | None = None
    LastName: str | None = None
    Branch: str | None = None


class CustomerListItem(Schema):
    """A customer list that is served or can be restored."""

    id: str
    imported_at: Moment
    customers: int


class CustomerChangeItem(Schema):
    """A customer that an import changes: in the list before and in the new one, null where it is missing."""

    user_code: str
    change: ChangeKind
    before: CustomerItem | None
    after: CustomerItem | None


class CustomersAnswer(Schema):
    """The number of customers in the new list, and its difference to the list before.

    `changes` has at most 100 customers of each kind; the counts are whole.
    """

    customers: int
    unchanged: int
    added: int
    changed: int
    removed: int
    changes: list[CustomerChangeItem]


class VerdictWords(Schema):
    """A verdict and its reason."""

    outcome: MessageOutcome
    reason: str | None


class ReplayedItem(Schema):
    """One item of a replayed delivery: its verdict before (null: it had none) and after."""

    position: int
    message_id: str | None
    before: VerdictWords | None
    after: VerdictWords


class TrackerStatusSchema(Schema):
    """The status of a tracker."""

    status: str | None
    status_milestone: str | None
    latest_occurrence: str | None


class MovedTracker(Schema):
    """A tracker that changes; `before` is null for a new one. `warning`: its event in the future blocks later updates."""

    source: str
    tracker_id: str
    before: TrackerStatusSchema | None
    after: TrackerStatusSchema
    warning: str | None


class ReplayAnswer(Schema):
    """The effect of a replay, or with `dry_run` the expected effect. `problem` says why the body cannot be read."""

    delivery_id: str
    dry_run: bool
    force: bool
    undo: bool
    retry: bool
    changed: bool
    items: list[ReplayedItem]
    trackers: list[MovedTracker]
    problem: str | None


class ImportedMessage(Schema):
    """The verdict on a message that was brought in."""

    message_id: str | None
    outcome: MessageOutcome
    reason: str | None = None
    detail: str | None = None


class ImportAnswer(Schema):
    """The answer to a webhook, and the trackers that moved. `messages` has at most 100; the counts are whole.

    With `dry_run` nothing was stored, `delivery_id` is null, and the rest is what an import would do.
    """

    delivery_id: str | None
    received: int
    applied: int
    stale: int
    duplicate: int
    recorded: int
    quarantined: int
    messages: list[ImportedMessage]
    trackers: list[MovedTracker]
    dry_run: bool


class ForgetAnswer(Schema):
    """The numbers of bodies removed, of bodies rewritten without this tracker, and of parts emptied in quarantine."""

    source: str
    tracker_id: str
    removed: int
    rewritten: int
    emptied: int
    unreadable: int = Field(description="bodies that could not be searched and were left as they are: they may name the person")
    wal_checkpointed: bool = Field(
        description="false: a reader prevented it, and SQLite's WAL may still contain the erased bytes"
    )


class Gone(Schema):
    """The removed rows of one kind, and the size of their content."""

    rows: int
    content_bytes: int


class PruneAnswer(Schema):
    """The rows and bytes that one request has pruned, by kind. While there is `more`, the next request continues this `run`."""

    run: str
    more: bool
    removed: dict[str, Gone]


class PruneTestsAnswer(Schema):
    """The number of deliveries and trackers of tests that were removed, or, with `dry_run`, would be."""

    test_run: str | None
    dry_run: bool
    deliveries: int
    trackers: int
    more: bool = Field(description="true: the same request removes the next ones")


class ChannelTest(Schema):
    """One channel and what came back. `format` is the form of its notices."""

    channel: Literal["url", "command", "mail"]
    format: str
    sent: bool
    answer: str


class AlarmTestAnswer(Schema):
    """The channels of the running service that were tried. Without a channel the list is empty."""

    channels: list[ChannelTest]


class DismissAnswer(Schema):
    """The number of dismissed items. While there is `more`, the same request dismisses the next ones."""

    dismissed: int
    more: bool


class ReopenAnswer(Schema):
    """The number of reopened items. While there is `more`, the same request reopens the next ones."""

    reopened: int
    more: bool


class RetriedResult(Schema):
    """The number of messages whose verdict changed in this way. `before` is null for a message without a verdict."""

    before: VerdictWords | None
    after: VerdictWords
    messages: int


class RetryQuarantineAnswer(Schema):
    """The effect on the deliveries of these items, and the number of trackers that move.

    `skipped` have no stored body. The next request continues from `next`.
    """

    dry_run: bool
    deliveries: int
    changed: int
    skipped: int
    results: list[RetriedResult]
    trackers: int
    next: str | None


class DropAnswer(Schema):
    """The number of removed changes. While there is `more`, the same request removes the next ones."""

    target: str
    waiting: int
    dead: int
    more: bool


class PauseAnswer(Schema):
    """Whether the target was neither paused nor stopped until now."""

    target: str
    paused: bool


class FlushAnswer(Schema):
    """The number of changes whose next attempt was later."""

    target: str
    changes: int


class ResendAnswer(Schema):
    """The change that is sent again. `targets` are those for which it did not wait yet."""

    source: str
    tracker_id: str
    change_id: str
    basis: Literal["events", "shipment"]
    sequence: int
    targets: list[str]


class TargetTestAnswer(Schema):
    """Whether the target took the test change, the HTTP status of its answer (null: it has none), and what went wrong."""

    target: str
    delivered: bool
    status: int | None
    answer: str


class ResumeAnswer(Schema):
    """Whether the target was paused or stopped until now."""

    target: str
    resumed: bool


class RetryAnswer(Schema):
    """The number of changes queued for retry."""

    target: str
    changes: int


class BackupAnswer(Schema):
    """The progress of a backup. `rows` is null until the copy is whole: then the number of rows of each table."""

    run: str
    copied_pages: int
    pages: int
    rows: dict[str, int] | None
