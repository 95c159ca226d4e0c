"""What storage keeps, a record for each row: its fields are the columns of its table, in their order.

Moments of our own (`…_at`) are microseconds since 1970, UTC; a courier's times are the text that came.
"""

from typing import Any, NamedTuple, TypeVar

_Record = TypeVar("_Record", bound=NamedTuple)


class DeliveryRow(NamedTuple):
    """A delivery on record, without its bytes: what came, what we answered and why. The last six are numbers of messages."""

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


class BodyRow(NamedTuple):
    """The bytes of a delivery: its headers without secrets (JSON pairs), its body, and our answer."""

    delivery_id: str
    headers: str
    body: bytes
    answer: bytes


class MessageRow(NamedTuple):
    """A message that was kept: its identity and its verdict. Never removed; a mended copy takes its place."""

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
    """An item that left no row of its own among the messages: a further copy of one, or one without an identity."""

    delivery_id: str
    position: int
    source: str
    message_id: str | None
    outcome: str
    reason: str | None
    received_at: int


class EventRow(NamedTuple):
    """An event in a tracker's timeline: its identity, what it said and its verdict. A superseded version has the same fields.

    `against` is the event that was the tracker's latest when this one was decided.
    `basis` tells whose time `occurrence` is: `courier`, or `arrival` where the sender gives none.
    The fields from `change_id` to `old_status_milestone` are those of the change that an applied event made: its id, its number
    within the tracker, and the status that it replaced; so is `shipment_milestone`, the sender's own view at that change.
    `message_id` brought this content first. `stands_by` is the latest message with this content, where that is another one, and
    `generated_at` the clock of that message (`timelines.Version`); None in rows that version 0.1 wrote.
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
    """A change that the row of its event does not tell: the event was revised since, or the tracker moved back to it.

    `move` is its number within the tracker. `cause` is the message that took a newer event back; None where a revision
    overwrote the change.
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
    """A change of the sender's own milestone that a target wants, with the tracker's latest event as it was then, if any.

    `move` is its number within the tracker's changes of this kind, from `changes.SHIPMENT_MOVES` on: a number of its own beside
    those of the other kind, should a target wait for both.
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
    """The state of one tracker. `version` grows by one with every batch that changes it and guards the write.

    The fields from `status` to `applied_at` are those of the latest event; those from `tracking_number` to `snapshot_message_id`
    and `shipment_milestone` are of the latest snapshot; `shipment` None means: as it was. `moved_at` is `applied_at`, or
    `created_at` before any event. `moves` counts the changes, `shipment_moves` those of
    `shipment_milestone`.
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


class SearchTermRow(NamedTuple):
    """A term that finds a tracker, without case: a number, an id or a reference."""

    term: str
    source: str
    tracker_id: str


class LinkRow(NamedTuple):
    """Which manifest a package travels with, by the latest call that said so."""

    source: str
    package: str
    manifest: str
    linked_at: int


class QuarantineRow(NamedTuple):
    """A message or an event kept apart with its bytes. `event_position` None means the whole message."""

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


class AuditRow(NamedTuple):
    """Something that an operator changed: `actor` is the name of the ops token or `command line`, `address` where they were."""

    id: str
    done_at: int
    actor: str
    address: str | None
    action: str
    subject: str
    detail: str | None


class DispatchRow(NamedTuple):
    """A change that a target has not taken yet: `due_at` is when it may be tried next, `claim` the mark of the relay that tries.

    A tracker's changes are tried in the order of `move`: one waits as long as an earlier one of the same target is there.
    `error` says how the last try ended. `attempts` counts tries that had an outcome, `unsettled` the claims since the last of
    these that had none.
    """

    target: str
    source: str
    tracker_id: str
    move: int
    event_id: str
    due_at: int
    attempts: int
    claim: str | None
    error: str | None
    made_at: int
    unsettled: int = 0


class SessionRow(NamedTuple):
    """Somebody who is signed in to the console: `digest` is that of the session's id, `actor` the name of the ops token."""

    digest: str
    actor: str
    began_at: int
    expires_at: int


class ProcessRow(NamedTuple):
    """A process that runs, in one role: `receiver` (makes changes) or `relay` (hands them on). A service has both.

    `targets` are the names of the targets and handlers that it knows in this role; a JSON list in the table. `id` is new at each
    start, `program` the version of the code, `seen_at` when the process was last known to run.
    """

    id: str
    role: str
    host: str
    process_id: int
    program: str
    started_at: int
    seen_at: int
    targets: tuple[str, ...]


def derive(record: type[_Record], source: NamedTuple, **fields: Any) -> _Record:
    """Return a record with the fields that it shares by name with `source`, and the given ones."""
    shared = {name: getattr(source, name) for name in record._fields if name in source._fields}
    made: _Record = record(**{**shared, **fields})  # type: ignore[call-overload]  # mypy checks the call of NamedTuple itself
    return made
