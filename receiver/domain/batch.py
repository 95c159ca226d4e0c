"""Verdicts for the messages of one batch of deliveries. Pure: no clock, no database, no log.

Storage fills a `BatchState` with the stored rows of all keys in the batch. It then decides the deliveries in their order, each
item against the state after the one before it, and collects the rows to write. Storage writes them afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from receiver.clock import from_micros, iso, new_id, to_micros
from receiver.domain.batch_messages import BatchMessages, make_message_row, name_anonymous, name_by_place
from receiver.domain.confinement import confine
from receiver.domain.newer import EventTime
from receiver.domain.occurrence import Occurrence, is_implausible, read_occurrence
from receiver.domain.records import Delivery, Event, Message, Receipt, Snapshot
from receiver.domain.revisions import BatchTrackers, PendingMessage
from receiver.domain.rows import LinkRow, MessageRow, QuarantineRow, RepeatedMessageRow, SearchTermRow
from receiver.domain.timelines import Version
from receiver.domain.tracker_state import new_tracker, search_terms_of, take_snapshot
from receiver.domain.verdicts import (
    APPLIED,
    CONTENT_DIFFERS,
    DUPLICATE,
    IMPLAUSIBLE_FUTURE,
    RECORDED,
    Verdict,
    better_verdict,
    rank_verdict,
)

_MICROSECOND = timedelta(microseconds=1)

_DETAILS = {
    "bad_occurrence": "The event time is not one of the four forms of a date-time.",
    "missing_occurrence": "The event has no time.",
    "not_an_object": "An event must be an object.",
}


@dataclass(slots=True)
class BatchState(BatchTrackers):
    """The known state of one batch's keys, and the rows that its decisions add.

    `repeated`, `quarantined`, `terms` and `links` are rows to write, beside those in `messages`, `trackers` and `timelines`.
    `now` is the time of the decision. With `force` no event is too far in the future.
    """

    max_future: timedelta
    now: datetime
    force: bool = False
    messages: BatchMessages = field(default_factory=BatchMessages)
    repeated: list[RepeatedMessageRow] = field(default_factory=list)
    quarantined: list[QuarantineRow] = field(default_factory=list)
    terms: set[SearchTermRow] = field(default_factory=set)
    links: dict[tuple[str, str], LinkRow] = field(default_factory=dict)

    def decide(self, delivery: Delivery, messages: Sequence[Message]) -> Receipt:
        """Decide the messages of one delivery, in body order."""
        return Receipt(delivery.id, tuple([self._decide_message(delivery, message) for message in messages]))

    def decide_again(self, delivery: Delivery, message: Message, message_id: str) -> Verdict:
        """Decide the content of a message as if its id were unknown. The caller updates its row."""
        confined = self._confine(delivery, message)
        return self._decide_content(delivery, confined._replace(message_id=message_id), message_id)

    def _confine(self, delivery: Delivery, message: Message) -> Message:
        if delivery.test_run is None:
            return message
        return confine(message, delivery.test_run, self.trackers.get((delivery.source, message.tracker_id or "")))

    def _decide_message(self, delivery: Delivery, message: Message) -> tuple[str | None, Verdict]:
        if delivery.test_run is not None:
            message = self._confine(delivery, message)
        if message.is_anonymous:
            message = self._identify(delivery, message)
        if message.message_id is None:
            verdict = self._quarantine_item(
                delivery, message, None, message.quarantine_reason or "missing_message_id", message.detail
            )
            self._note_repeated(delivery, message, verdict)
            return None, verdict
        key = (delivery.source, message.message_id)
        known = self.messages.known.get(key)
        if known is not None and not self.messages.is_repaired(known, message):
            verdict = self._decide_copy(delivery, message, known)
            self._note_repeated(delivery, message, verdict)
            return message.message_id, verdict
        quarantined_before = len(self.quarantined)
        verdict = self._decide_content(delivery, message, message.message_id, is_repaired=known is not None)
        row = make_message_row(delivery, message, message.message_id, verdict)
        partly = len(self.quarantined) > quarantined_before
        if known is None:
            self.messages.add(row, partly=partly)
        else:
            final = better_verdict(Verdict(known.outcome, known.reason), verdict)
            row = row._replace(outcome=final.outcome, reason=final.reason)
            self.repeated.append(self.messages.repair(known, row, partly=partly))
        return message.message_id, verdict

    def _decide_copy(self, delivery: Delivery, message: Message, known: MessageRow) -> Verdict:
        """Decide a copy of a known message. It has no effect, with one exception: a sender without a clock sends other details.

        Those details replace the earlier ones, because they arrived later.
        """
        if known.digest == message.digest:
            self.note_again(delivery.source, message, known.message_id, self._read_clock(delivery, message))
            return DUPLICATE
        if message.generated_at is None and message.snapshot is not None and message.tracker_id == known.tracker_id:
            key = (delivery.source, message.tracker_id or "")
            item = PendingMessage(delivery, message, known.message_id, key, self._read_clock(delivery, message))
            plausible = not any(isinstance(self._read_occurrence(delivery, event), str) for event in message.events)
            if plausible and self._take_details(item, message.snapshot):
                self.messages.rewrite(known, known._replace(digest=message.digest))
        return CONTENT_DIFFERS

    def _identify(self, delivery: Delivery, message: Message) -> Message:
        """Return an anonymous message with an id.

        If its content equals the message that set the current state, it gets that message's id.
        """
        tracker = self.trackers.get((delivery.source, message.tracker_id or ""))
        if tracker is not None and tracker.latest_message_id is not None and tracker.latest_digest == message.digest:
            row = make_message_row(delivery, message, tracker.latest_message_id, APPLIED)
            self.messages.known.setdefault((delivery.source, tracker.latest_message_id), row)
            return message._replace(message_id=tracker.latest_message_id)
        return name_anonymous(message, message.message_id or name_by_place(delivery.id, message.position))

    def _decide_content(self, delivery: Delivery, message: Message, message_id: str, *, is_repaired: bool = False) -> Verdict:
        if message.quarantine_reason is not None or message.tracker_id is None or message.snapshot is None:
            return self._quarantine_item(
                delivery, message, None, message.quarantine_reason or "missing_tracker_id", message.detail
            )
        key = (delivery.source, message.tracker_id)
        item = PendingMessage(delivery, message, message_id, key, self._read_clock(delivery, message), is_repaired)
        before = self.trackers.get(key)
        if before is not None and before.test_run is not None and delivery.test_run is None:
            self.put_tracker(key, before, before._replace(test_run=None))  # a real message makes the tracker of a test a real one
        times = [self._read_time(item, event) for event in message.events]
        details = _choose_details(message.snapshot, times)
        if details is not None:
            self._take_details(item, details)
        best: Verdict | None = None
        for position, (event, time) in enumerate(zip(message.events, times, strict=True)):
            verdict = self._decide_event(item, position, event, time)
            if best is None or rank_verdict(verdict) < rank_verdict(best):
                best = verdict
        self.note_shipment_change(item, before)
        return best or RECORDED

    def _read_clock(self, delivery: Delivery, message: Message) -> int:
        """Return the time when the sender built a message, in microseconds; 0 if it is missing or implausible.

        For a sender that sends no such times, return the time of arrival.
        """
        if message.generated_at is None:
            return delivery.arrival_at + message.position
        return 0 if self._is_far_ahead(message.generated_at, delivery.received_at) else message.generated_at

    def _is_far_ahead(self, clock: int, now: int) -> bool:
        return clock > now + self.max_future // _MICROSECOND

    def _take_details(self, item: PendingMessage, snapshot: Snapshot) -> bool:
        """Apply the details of a message if they are later than the known ones; return whether they are.

        If two messages were built in the same millisecond, the larger message id wins, so that the order of arrival does not
        matter. The details of a repaired copy replace those of the earlier copy, whenever it was built.
        """
        tracker = self.trackers.get(item.key)
        generated_at = -1 if snapshot.shipment is None else item.clock
        names = (snapshot.tracking_number, snapshot.client_tracker_id, snapshot.shipment_reference)
        for link in item.message.links:
            self._take_link(LinkRow(item.delivery.source, *link, item.delivery.arrival_at))
        if tracker is None:
            tracker = new_tracker(item.key, item.delivery, item.message, snapshot, generated_at, item.message_id)
            self.put_tracker(item.key, None, tracker)
            self.terms |= search_terms_of(item.key, (item.key[1], *names))
            return True
        if names != (tracker.tracking_number, tracker.client_tracker_id, tracker.shipment_reference):
            self.terms |= search_terms_of(item.key, names)  # of older snapshots too: a search for any past name finds the tracker
        known_at = tracker.snapshot_generated_at
        if self._is_from_version_0_1(known_at, item.message):
            known_at = 0
        candidate, known = (generated_at, item.message_id), (known_at, tracker.snapshot_message_id)
        is_of_same_message = item.message_id == tracker.snapshot_message_id
        replaces_own = item.is_repaired and is_of_same_message and (generated_at < 0) == (known_at < 0)
        if candidate <= known and not replaces_own:
            return False
        self.put_tracker(item.key, tracker, take_snapshot(tracker, snapshot, generated_at, item.message_id))
        return True

    def _is_from_version_0_1(self, known_at: int, message: Message) -> bool:
        """Tell whether version 0.1 wrote this time of a snapshot.

        It accepted any time in the future, and used local time for senders that send none.
        """
        now = to_micros(self.now)
        return self._is_far_ahead(known_at, now) or (message.generated_at is None and known_at > now)

    def _take_link(self, link: LinkRow) -> None:
        known = self.links.get((link.source, link.package))
        if known is None or known.linked_at <= link.linked_at:
            self.links[link.source, link.package] = link

    def _decide_event(self, item: PendingMessage, position: int, event: Event, time: Occurrence | str | None) -> Verdict:
        identity = (*item.key, event.event_id)
        current = self.timelines.current.get(identity)
        if time is None or (current is not None and current.digest == event.digest):
            self.timelines.refresh(identity, Version(event.digest, item.clock, item.message_id))
            return DUPLICATE
        if isinstance(time, str):
            return self._quarantine_item(item.delivery, item.message, position, time, item.message.detail)
        order = item.delivery.arrival_at + item.message.position if event.ordered_by_arrival else event.order
        return self._apply(item, event, EventTime(time, order), self._cause_of(item.delivery, time))

    def _read_time(self, item: PendingMessage, event: Event) -> Occurrence | str | None:
        """Return the event's time, or the reason for quarantine; None if the event is already stored with this content."""
        current = self.timelines.current.get((*item.key, event.event_id))
        if current is not None and current.digest == event.digest:
            return None
        return self._read_occurrence(item.delivery, event)

    def _cause_of(self, delivery: Delivery, time: Occurrence) -> tuple[str, ...]:
        """Return the cause of a change to an event that only `force` accepts.

        The event may be taken back, and come again by itself or be forced again: that is another change, with another id.
        """
        is_forced = self.force and is_implausible(time, from_micros(delivery.received_at), self.max_future)
        return ("force", str(to_micros(self.now))) if is_forced else ()

    def _read_occurrence(self, delivery: Delivery, event: Event) -> Occurrence | str:
        """Return the event's time, or the reason for quarantine. The time of arrival replaces one that may be missing."""
        if event.quarantine_reason is not None:
            return event.quarantine_reason
        try:
            occurrence = read_occurrence(event.occurrence or iso(delivery.arrival_at))
        except ValueError:
            return "bad_occurrence"
        if not self.force and is_implausible(occurrence, from_micros(delivery.received_at), self.max_future):
            return "implausible_future"
        return occurrence

    def describe(self, reason: str) -> str | None:
        """Return the detail of a reason for quarantine."""
        if reason == IMPLAUSIBLE_FUTURE.reason:
            return f"Event time is too far in the future (limit {self.max_future / timedelta(hours=1):g} h)."
        return _DETAILS.get(reason)

    def _quarantine_item(
        self, delivery: Delivery, message: Message, position: int | None, reason: str, detail: str | None
    ) -> Verdict:
        raw = message.raw if position is None else message.events[position].raw
        detail = detail or self.describe(reason)
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

    def _note_repeated(self, delivery: Delivery, message: Message, verdict: Verdict) -> None:
        self.repeated.append(
            RepeatedMessageRow(
                delivery.id,
                message.position,
                delivery.source,
                message.message_id,
                verdict.outcome,
                verdict.reason,
                delivery.received_at,
            )
        )


def _choose_details(snapshot: Snapshot, times: Sequence[Occurrence | str | None]) -> Snapshot | None:
    """Return the details of a message that may be applied; None if there are none.

    The details of a message with an implausible event are not applied. If another of its events can be applied, only the names
    are used, so that the tracker can be found; they never replace details with a shipment block.
    """
    if IMPLAUSIBLE_FUTURE.reason not in times:
        return snapshot
    if all(isinstance(time, str) for time in times):
        return None
    return snapshot._replace(shipment=None, shipment_milestone=None)
