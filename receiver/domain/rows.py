"""Rows of the database as records: the fields of each record are the columns of its table, in the same order.

Our own times (`…_at`) are microseconds since 1970, UTC. A courier's times are the text that was sent.
"""

from typing import Any, NamedTuple, TypeVar

_Record = TypeVar("_Record", bound=NamedTuple)


class DeliveryRow(NamedTuple):
    """A delivery without its bytes: the request, our answer and the reason, the numbers of its messages, the run of the test
    that sent it (None: it is a real one), the cause of a 401 (`refusals.CAUSES`), and how it came (`records.Delivery`)."""

    id: str
    source: str
    kind: str
    method: str
    path: str
    received_at: int
    decided_at: int
    peer: str | None
    client: str | None
    token: str | None
    note: str | None
    status: int
    outcome: str
    code: str | None
    reason: str | None
    body_bytes: int
    received: int = 0
    applied: int = 0
    stale: int = 0
    duplicate: int = 0
    recorded: int = 0
    quarantined: int = 0
    test_run: str | None = None
    cause: str | None = None
    origin: str = "webhook"
    sent_at: int | None = None
    body_number: int | None = None


class BodyRow(NamedTuple):
    """The bytes of a delivery: its headers without secrets (JSON pairs), its body, and our answer.

    Where they are packed, `body` is the frame with all three, which has `content_bytes` of content, and the others are empty.
    """

    delivery_id: str
    headers: str
    body: bytes
    answer: bytes
    content_bytes: int | None = None


class MessageRow(NamedTuple):
    """A message: its identity and its verdict. The row is never removed; a repaired copy replaces it (`batch_messages`)."""

    source: str
    message_id: str
    tracker_id: str | None
    topic: str
    outcome: str
    reason: str | None
    delivery_id: str
    position: int
    digest: str
    received_at: int


class RepeatedMessageRow(NamedTuple):
    """An item without a row among the messages: another copy of a known message, or an item without an id."""

    delivery_id: str
    position: int
    source: str
    message_id: str | None
    outcome: str
    reason: str | None
    received_at: int


class EventRow(NamedTuple):
    """An event in a tracker's timeline: its identity, content and verdict. A superseded version has the same fields.

    `against` is the tracker's latest event at the time of the verdict. `basis` is the origin of `occurrence`: `courier`, or
    `arrival` where the sender gives no time.
    The fields from `change_id` to `old_status_milestone`, and `shipment_milestone`, belong to the change that an applied event
    made: its id, its number within the tracker (`move`), the status that it replaced, and the sender's own milestone then.
    `message_id` is the first message with this content. `stands_by` is the latest message with it, if that is another one, and
    `generated_at` is the clock of the latest message (`timelines.Version`); None in rows that version 0.1 wrote.
    """

    source: str
    tracker_id: str
    event_id: str
    message_id: str
    occurrence: str
    basis: str
    order: int | None
    status: str | None
    status_code: str | None
    status_category: str | None
    status_milestone: str | None
    location: str | None
    courier_code: str | None
    outcome: str
    reason: str | None
    against: str | None
    digest: str
    received_at: int
    change_id: str | None = None
    move: int | None = None
    old_status: str | None = None
    old_status_milestone: str | None = None
    generated_at: int | None = None
    stands_by: str | None = None
    shipment_milestone: str | None = None


class ChangeRow(NamedTuple):
    """A change in a row of its own: the event was revised or taken back later, or the tracker moved back to it.

    `move` is its number within the tracker. `cause` is the message that took a newer event back, or whose forced event an
    operator took back; None where a revision replaced the event. A change to no event has an empty `event_id` and `occurrence`.
    """

    source: str
    tracker_id: str
    move: int
    change_id: str
    event_id: str
    message_id: str
    occurrence: str
    old_status: str | None
    old_status_milestone: str | None
    status: str | None
    status_code: str | None
    status_category: str | None
    status_milestone: str | None
    location: str | None
    received_at: int
    cause: str | None = None
    shipment_milestone: str | None = None


class ShipmentChangeRow(NamedTuple):
    """A change of the sender's own milestone that a target wants, with the tracker's latest event at that time, if any.

    `move` is `changes.SHIPMENT_MOVE_OFFSET` plus its number within the tracker's changes of this kind, so that it cannot equal
    the number of a change to another event.
    """

    source: str
    tracker_id: str
    move: int
    change_id: str
    event_id: str | None
    message_id: str
    occurrence: str | None
    old_status: str | None
    old_status_milestone: str | None
    status: str | None
    status_code: str | None
    status_category: str | None
    status_milestone: str | None
    location: str | None
    received_at: int
    old_shipment_milestone: str | None
    shipment_milestone: str | None


class TrackerRow(NamedTuple):
    """The state of one tracker.

    `version` grows by one with every batch that changes the row, and an update checks it.
    The fields from `status` to `applied_at` come from the latest event; those from `tracking_number` to `snapshot_message_id`,
    and `shipment_milestone`, from the latest snapshot. With `shipment` None an update leaves the stored block as it is.
    `moved_at` is `applied_at`; without an event it is `created_at`, or when the last event was taken back. `moves` counts the
    changes to another event, `shipment_moves` those of `shipment_milestone`. `test_run`: the run of the test that made it.
    """

    source: str
    tracker_id: str
    version: int
    subject: str
    tracking_number: str | None
    client_tracker_id: str | None
    shipment_reference: str | None
    shipment: str | None
    snapshot_generated_at: int
    snapshot_message_id: str
    created_at: int
    status: str | None = None
    status_code: str | None = None
    status_category: str | None = None
    status_milestone: str | None = None
    location: str | None = None
    latest_occurrence: str | None = None
    latest_order: int | None = None
    latest_event_id: str | None = None
    latest_message_id: str | None = None
    latest_digest: str | None = None
    applied_at: int | None = None
    moved_at: int = 0
    moves: int = 0
    shipment_milestone: str | None = None
    shipment_moves: int = 0
    test_run: str | None = None


class SearchTermRow(NamedTuple):
    """A term that finds a tracker, without case: a number, an id or a reference."""

    term: str
    source: str
    tracker_id: str


class LinkRow(NamedTuple):
    """The manifest of a package, from the latest delivery that names one."""

    source: str
    package: str
    manifest: str
    linked_at: int


class QuarantineRow(NamedTuple):
    """A quarantined message or event with its bytes. `event_position` None: the whole message.

    It is open until `closed_at`. `closed_as` is `resolved` (the sender sent a corrected copy) or `dismissed` (an operator,
    `closed_by`, decided to do nothing, and may say why in `note`).
    """

    id: str
    delivery_id: str
    position: int
    event_position: int | None
    source: str
    message_id: str | None
    tracker_id: str | None
    reason: str
    detail: str | None
    raw: bytes
    received_at: int
    closed_at: int | None = None
    closed_as: str | None = None
    closed_by: str | None = None
    note: str | None = None


class AuditRow(NamedTuple):
    """An entry of the audit log: `actor` is the name of the ops token or `command line`, `address` the client's IP address."""

    id: str
    done_at: int
    actor: str
    address: str | None
    action: str
    subject: str
    detail: str | None


class ReconciliationRow(NamedTuple):
    """A reconciliation with a vendor: what was asked for, how far it came, and what it found; all three as JSON objects.

    `ended_at` is None until it is complete. `problem` is the reason why it stopped early.
    """

    id: str
    source: str
    actor: str
    began_at: int
    updated_at: int
    ended_at: int | None
    problem: str | None
    request: str
    position: str
    report: str


class SessionRow(NamedTuple):
    """A session of the console: `digest` is the digest of the session id, `actor` the name of the ops token."""

    digest: str
    actor: str
    began_at: int
    expires_at: int


def derive(record: type[_Record], source: NamedTuple, **fields: Any) -> _Record:
    """Return a record with the fields that it shares by name with `source`, and the given ones."""
    shared = {name: getattr(source, name) for name in record._fields if name in source._fields}
    made: _Record = record(**{**shared, **fields})  # type: ignore[call-overload]  # mypy checks the call of NamedTuple itself
    return made
