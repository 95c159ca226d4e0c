"""The verdicts: what a message changes, given what is known. Pure: no clock, no database, no log.

A `Bench` holds what storage knew of the keys of one batch. It decides deliveries in their order, each item against the state that
the one before it left, and collects the rows to write. Storage reads before and writes after.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from receiver.clock import from_micros, iso, new_id
from receiver.occurrence import Moment, Occurrence, compare, is_implausible, is_newer, read_occurrence
from receiver.records import OUTCOMES, Delivery, Event, Message, Receipt, Snapshot, Verdict
from receiver.rows import EventRow, LinkRow, MessageRow, QuarantineRow, SightingRow, TrackerRow
from receiver.states import advance, make_event_row, new_tracker, take_snapshot, terms_of

_RANK = {outcome: rank for rank, outcome in enumerate(OUTCOMES)}
_APPLIED = Verdict("applied")
_RECORDED = Verdict("recorded")

_DETAILS = {
    "bad_occurrence": "The event's time is not one of the four forms of a date-time.",
    "implausible_future": "The event's time lies too far after its receipt.",
    "missing_occurrence": "The event has no time.",
    "not_an_object": "An event must be an object.",
}


@dataclass(slots=True)
class Bench:
    """What is known of one batch's keys, and what deciding it makes of them.

    `messages`, `trackers` and `events` are filled by storage (identity to digest, key to state, identity to digest) and grow with
    every item. The other fields are what to write; `moved` are the keys of the trackers that changed, `changes` the applied ones
    of `new_events`.
    `now` is when the batch is decided.
    """

    max_future: timedelta
    now: datetime
    messages: dict[tuple[str, str], str] = field(default_factory=dict)
    trackers: dict[tuple[str, str], TrackerRow] = field(default_factory=dict)
    events: dict[tuple[str, str, str], str] = field(default_factory=dict)
    moved: set[tuple[str, str]] = field(default_factory=set)
    new_messages: list[MessageRow] = field(default_factory=list)
    new_events: list[EventRow] = field(default_factory=list)
    sightings: list[SightingRow] = field(default_factory=list)
    quarantined: list[QuarantineRow] = field(default_factory=list)
    terms: set[tuple[str, str, str]] = field(default_factory=set)
    links: dict[tuple[str, str], LinkRow] = field(default_factory=dict)
    changes: list[EventRow] = field(default_factory=list)

    def decide(self, delivery: Delivery, messages: Sequence[Message]) -> Receipt:
        """Decide the items of one delivery, in body order."""
        return Receipt(delivery.id, tuple([self._decide_message(delivery, message) for message in messages]))

    def decide_again(self, delivery: Delivery, message: Message, message_id: str) -> Verdict:
        """Decide what a message says as if its identity were not kept. Its row in the ledger is the caller's to change."""
        return self._decide_content(delivery, message._replace(message_id=message_id), message_id)

    def _decide_message(self, delivery: Delivery, message: Message) -> tuple[str | None, Verdict]:
        if message.by_state:
            message = self._identify(delivery, message)
        if message.message_id is None:
            verdict = self._set_apart(delivery, message, None, message.flaw or "missing_message_id", message.detail)
            self._sight(delivery, message, verdict)
            return None, verdict
        key = (delivery.source, message.message_id)
        kept = self.messages.get(key)
        if kept is not None:
            verdict = _duplicate(kept, message.digest)
            self._sight(delivery, message, verdict)
            return message.message_id, verdict
        verdict = self._decide_content(delivery, message, message.message_id)
        self.messages[key] = message.digest
        self.new_messages.append(
            MessageRow(
                delivery.source,
                message.message_id,
                message.tracker_id,
                message.topic,
                verdict.outcome,
                verdict.reason,
                delivery.id,
                message.position,
                message.digest,
                delivery.received_at,
            )
        )
        return message.message_id, verdict

    def _identify(self, delivery: Delivery, message: Message) -> Message:
        """Name a message that names itself by nothing: by the one that set the present state, if its content is equal."""
        tracker = self.trackers.get((delivery.source, message.tracker_id or ""))
        if tracker is not None and tracker.latest_message_id is not None and tracker.latest_digest == message.digest:
            self.messages.setdefault((delivery.source, tracker.latest_message_id), message.digest)
            return message._replace(message_id=tracker.latest_message_id)
        message_id = f"{delivery.id}:{message.position}"
        events = tuple([event._replace(event_id=message_id) for event in message.events])
        return message._replace(message_id=message_id, events=events)

    def _decide_content(self, delivery: Delivery, message: Message, message_id: str) -> Verdict:
        if message.flaw is not None or message.tracker_id is None or message.snapshot is None:
            return self._set_apart(delivery, message, None, message.flaw or "missing_tracker_id", message.detail)
        key = (delivery.source, message.tracker_id)
        self._fold(key, delivery, message, message.snapshot, message_id)
        for link in message.links:
            self.links[delivery.source, link.package] = LinkRow(delivery.source, *link, delivery.received_at)
        best: Verdict | None = None
        for position, event in enumerate(message.events):
            verdict = self._decide_event(delivery, message, message_id, key, position, event)
            if best is None or _RANK[verdict.outcome] < _RANK[best.outcome]:
                best = verdict
        return best or _RECORDED

    def _fold(self, key: tuple[str, str], delivery: Delivery, message: Message, snapshot: Snapshot, message_id: str) -> None:
        """Take the snapshot if it was built later than the one we have.

        Of two that were built in the same millisecond the larger message id stays, so that the order of arrival cannot matter.
        """
        tracker = self.trackers.get(key)
        generated_at = delivery.received_at if snapshot.generated_at is None else snapshot.generated_at
        names = (snapshot.tracking_number, snapshot.client_tracker_id, snapshot.shipment_reference)
        if tracker is None:
            self.move(key, None, new_tracker(key, delivery, message, snapshot, generated_at, message_id))
            self.terms |= terms_of(key, (key[1], *names))
            return
        if names != (tracker.tracking_number, tracker.client_tracker_id, tracker.shipment_reference):
            self.terms |= terms_of(key, names)  # an older snapshot's too: it is found by every name that it ever had
        if (generated_at, message_id) > (tracker.snapshot_generated_at, tracker.snapshot_message_id):
            self.move(key, tracker, take_snapshot(tracker, snapshot, generated_at, message_id))

    def _decide_event(
        self,
        delivery: Delivery,
        message: Message,
        message_id: str,
        key: tuple[str, str],
        position: int,
        event: Event,
    ) -> Verdict:
        identity = (*key, event.event_id)
        kept = self.events.get(identity)
        if kept is not None:
            return _duplicate(kept, event.digest)
        occurrence = self._read_occurrence(delivery, event)
        if isinstance(occurrence, str):
            return self._set_apart(delivery, message, position, occurrence, message.detail)
        before = self.trackers[key]
        moment = Moment(occurrence, delivery.received_at + message.position if event.by_arrival else event.order)
        verdict = _weigh(moment, before)
        change_id = self._name_change() if verdict is _APPLIED else None
        row = make_event_row(key, delivery, message_id, event, moment, verdict, before, change_id)
        self.events[identity] = event.digest
        self.new_events.append(row)
        if verdict is _APPLIED:
            self.move(key, before, advance(before, row))
            self.changes.append(row)
        return verdict

    def _name_change(self) -> str:
        """Return an id that sorts behind those of this batch before it."""
        return new_id(self.now + timedelta(microseconds=len(self.changes)))

    def _read_occurrence(self, delivery: Delivery, event: Event) -> Occurrence | str:
        """Return the event's time (that of its arrival, where it has none and its source orders by arrival), or what is wrong."""
        if event.flaw is not None:
            return event.flaw
        try:
            occurrence = read_occurrence(event.occurrence or iso(delivery.received_at))
        except ValueError:
            return "bad_occurrence"
        if is_implausible(occurrence, from_micros(delivery.received_at), self.max_future):
            return "implausible_future"
        return occurrence

    def move(self, key: tuple[str, str], before: TrackerRow | None, after: TrackerRow) -> None:
        """Take a tracker's new row."""
        if before is not None and key not in self.moved:
            after = after._replace(version=before.version + 1)
        self.moved.add(key)
        self.trackers[key] = after

    def _set_apart(self, delivery: Delivery, message: Message, position: int | None, reason: str, detail: str | None) -> Verdict:
        raw = message.raw if position is None else message.events[position].raw
        detail = detail or _DETAILS.get(reason)
        self.quarantined.append(
            QuarantineRow(
                new_id(from_micros(delivery.received_at)),
                delivery.id,
                message.position,
                position,
                delivery.source,
                message.message_id,
                message.tracker_id,
                reason,
                detail,
                raw,
                delivery.received_at,
            )
        )
        return Verdict("quarantined", reason, detail)

    def _sight(self, delivery: Delivery, message: Message, verdict: Verdict) -> None:
        self.sightings.append(
            SightingRow(
                delivery.id,
                message.position,
                delivery.source,
                message.message_id,
                verdict.outcome,
                verdict.reason,
                delivery.received_at,
            )
        )


def _duplicate(kept: str, digest: str) -> Verdict:
    return Verdict("duplicate", None if kept == digest else "content_differs")


def _weigh(candidate: Moment, tracker: TrackerRow) -> Verdict:
    text = tracker.latest_occurrence
    latest = None if text is None else Moment(read_occurrence(text), tracker.latest_order)
    if latest is None or is_newer(candidate, latest):
        return _APPLIED
    return Verdict("stale", "older" if compare(candidate, latest) < 0 else "tie")
