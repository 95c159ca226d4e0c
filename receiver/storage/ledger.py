"""The ledger: it reads the stored state for a batch and writes the verdicts, for new and for replayed deliveries."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Connection, literal_column, null

from receiver.clock import to_micros
from receiver.domain.batch import BatchState
from receiver.domain.changes import Subscription
from receiver.domain.outbox_rows import DispatchRow
from receiver.domain.records import Submission
from receiver.domain.rows import (
    ChangeRow,
    EventRow,
    LinkRow,
    MessageRow,
    QuarantineRow,
    RepeatedMessageRow,
    SearchTermRow,
    ShipmentChangeRow,
    TrackerRow,
)
from receiver.domain.timelines import Version
from receiver.domain.tracker_state import make_shipment_change
from receiver.storage import driver
from receiver.storage.completions import Completions, lock_completions
from receiver.storage.database import Database
from receiver.storage.faults import LostRace
from receiver.storage.notifications import note_changes
from receiver.storage.quarantine import resolve_items
from receiver.storage.revisions import find_partly, read_timelines, refresh_versions, rewrite_messages
from receiver.storage.statements import Insert, Inserted, Lookup, columns_of
from receiver.storage.tables.ledger import (
    EventTable,
    LinkTable,
    MessageTable,
    QuarantineTable,
    RepeatedMessageTable,
    SearchTermTable,
    TrackerTable,
)
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import BLOCKED, DispatchTable
from receiver.storage.tables.revisions import SUPERSEDED, ChangeTable, ShipmentChangeTable

Contents: TypeAlias = Mapping[tuple[str, str, str], set[str]]
"""The events in a batch: the key of each, with the digests of its contents in the batch."""


class _StoredVersion(NamedTuple):
    """The columns of an event that give its current version."""

    source: str
    tracker_id: str
    event_id: str
    digest: str
    generated_at: int | None
    stands_by: str | None
    message_id: str
    received_at: int


class Ledger:
    """Reads and writes the ledger inside transactions of the caller. `subscriptions` are the changes that targets want."""

    def __init__(self, database: Database, subscriptions: Sequence[Subscription] = ()) -> None:
        self._database = database
        self._completions = Completions(database)
        self._event_subscriptions = [each for each in subscriptions if each.basis == "events"]
        self._shipment_subscriptions = [each for each in subscriptions if each.basis == "shipment"]
        trackers, messages, events = table_of(TrackerTable), table_of(MessageTable), table_of(EventTable)
        # The shipment block is only replaced as a whole. So it is not read, and writing NULL leaves it unchanged.
        state = [null() if column.name == "shipment" else column for column in columns_of(trackers, TrackerRow)]
        self._find_trackers = Lookup(database, trackers, state, lock="wait")
        self._find_messages = Lookup(database, messages, columns_of(messages, MessageRow))
        self._find_events = Lookup(database, events, columns_of(events, _StoredVersion))
        self._add_trackers = Insert(database, trackers, TrackerRow)
        self._put_trackers = Insert(database, trackers, TrackerRow, replace_if=is_next, keep_if_null=["shipment"])
        self._add_messages = Insert(database, messages, MessageRow)
        self._add_events = Insert(database, events, EventRow)
        self._put_events = Insert(database, events, EventRow, replace_if=is_same_event)
        self._add_superseded = Insert(database, SUPERSEDED, EventRow)
        self._add_change_rows = Insert(database, table_of(ChangeTable), ChangeRow)
        self._add_shipment_changes = Insert(database, table_of(ShipmentChangeTable), ShipmentChangeRow)
        self._add_repeated = Insert(database, table_of(RepeatedMessageTable), RepeatedMessageRow)
        self._add_quarantine = Insert(database, table_of(QuarantineTable), QuarantineRow)
        self._add_terms = Insert(database, table_of(SearchTermTable), SearchTermRow)
        self._add_dispatches = Insert(database, table_of(DispatchTable), DispatchRow)
        self._put_links = Insert(database, table_of(LinkTable), LinkRow, replace_if=is_later)

    def read(self, connection: Connection, batch_state: BatchState, batch: Sequence[Submission]) -> None:
        """Read the stored state of all keys in these deliveries into the batch, and lock the existing trackers."""
        if any(message.subject != "parcel" for submission in batch for message in submission.messages):
            lock_completions(connection, self._database)
        trackers: set[tuple[str, str]] = set()
        messages: dict[tuple[str, str], set[str]] = defaultdict(set)
        events: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        for submission in batch:
            source = submission.delivery.source
            for message in submission.messages:
                if message.message_id is not None:
                    messages[source, message.message_id].add(message.digest)
                if message.tracker_id is not None:
                    trackers.add((source, message.tracker_id))
                    if not message.is_anonymous:  # the event of an anonymous message is no version of another event
                        for event in message.events:
                            events[source, message.tracker_id, event.event_id].add(event.digest)
        self.read_keys(connection, batch_state, trackers, messages, events)

    def read_keys(
        self,
        connection: Connection,
        batch_state: BatchState,
        trackers: set[tuple[str, str]],
        messages: Mapping[tuple[str, str], set[str]],
        events: Contents,
    ) -> None:
        """Read the stored state of these keys into the batch, and lock the existing trackers.

        `messages` and `events` have the digests of their contents in the batch. If an event has other content than the stored
        one, read the whole timeline of its tracker. If a message has, find out whether a part of it is in quarantine.
        """
        with driver.pipelined(connection):
            found = (
                self._find_trackers.start(connection, sorted(trackers)),
                self._find_messages.start(connection, sorted(messages)),
                self._find_events.start(connection, sorted(events)),
            )
        for tracker in map(TrackerRow._make, self._find_trackers.read(found[0])):
            batch_state.trackers[tracker.source, tracker.tracker_id] = tracker
        for message in map(MessageRow._make, self._find_messages.read(found[1])):
            batch_state.messages.known[message.source, message.message_id] = message
        for event in map(_StoredVersion._make, self._find_events.read(found[2])):
            clock = event.generated_at
            if clock is None:
                clock = _bound_clock(batch_state.trackers.get((event.source, event.tracker_id)), event.received_at)
            version = Version(event.digest, clock, event.stands_by or event.message_id)
            batch_state.timelines.current[event.source, event.tracker_id, event.event_id] = version
        known = batch_state.messages.known
        differing = [row for key, row in known.items() if not messages.get(key, set()) <= {row.digest}]
        if differing:
            batch_state.messages.partly |= find_partly(connection, differing)
        revised = {identity[:2] for identity, digests in events.items() if _is_revised(batch_state, identity, digests)}
        if revised:
            read_timelines(connection, batch_state.timelines, revised)

    def write(self, connection: Connection, batch_state: BatchState) -> None:
        """Write the decisions of a batch and the changes for targets. Raises LostRace if another process was first."""
        with self.writing(connection, batch_state):
            pass

    @contextmanager
    def writing(self, connection: Connection, batch_state: BatchState) -> Iterator[None]:
        """Write as `write` does, together with what the block writes. Raises LostRace after the block, before any commit.

        All statements go in one pipeline, unless one needs its result at once. What is written after a lost race is rolled back.
        Nothing of it can fail because of the race: the tables have no constraints beside their keys, and each insert says what
        becomes of a known key.
        """
        messages = batch_state.messages
        needs_results = messages.rewritten or messages.replaced or batch_state.timelines.refreshed
        with driver.pipelined(connection, is_wanted=not needs_results):
            changed = [batch_state.trackers[key] for key in sorted(batch_state.changed)]
            written = [
                self._add_trackers.execute(connection, [row for row in changed if row.version == 1]),
                self._put_trackers.execute(connection, [row for row in changed if row.version > 1]),
                self._add_messages.execute(connection, [row for _, row in sorted(messages.new.items())]),
                *self._write_events(connection, batch_state),
            ]
            rewritten = rewrite_messages(connection, [pair for _, pair in sorted(messages.rewritten.items())])
            written += self._write_rest(connection, batch_state, changed)
            yield
        if not (rewritten and all(each.is_complete for each in written)):
            raise LostRace

    def _write_rest(
        self, connection: Connection, batch_state: BatchState, changed: Sequence[TrackerRow]
    ) -> tuple[Inserted, Inserted]:
        self._add_terms.execute(connection, sorted(batch_state.terms))
        self._put_links.execute(connection, [batch_state.links[key] for key in sorted(batch_state.links)])
        self._completions.mark_batch(connection, batch_state, changed)
        self._add_repeated.execute(connection, batch_state.repeated)
        quarantined = self._add_quarantine.execute(connection, batch_state.quarantined)
        resolve_items(connection, batch_state.messages.replaced)  # some of them new
        return quarantined, self._write_dispatches(connection, batch_state, to_micros(batch_state.now))

    def _write_events(self, connection: Connection, batch_state: BatchState) -> tuple[Inserted, Inserted]:
        timelines = batch_state.timelines
        if timelines.refreshed:
            timelines.refresh_rows()
            refresh_versions(connection, timelines.refreshed)
        self._add_superseded.execute(connection, timelines.superseded)
        self._add_change_rows.execute(connection, batch_state.change_rows)
        added = self._add_events.execute(connection, [*timelines.new.values()])
        return added, self._put_events.execute(connection, [*timelines.revised.values()])

    def _write_dispatches(self, connection: Connection, batch_state: BatchState, now: int) -> Inserted:
        """Add the changes to the outbox of each target that wants them."""
        wanted = [
            (subscription.target, change)
            for change in batch_state.changes
            for subscription in self._event_subscriptions
            if subscription.wants(change.source, change.old_status_milestone, change.status_milestone)
        ]
        all_wanted = [*wanted, *(self._write_shipment_changes(connection, batch_state) if self._shipment_subscriptions else ())]
        rows = []
        first: set[tuple[str, str, str]] = set()
        for target, change in all_wanted:
            tracker = (target, change.source, change.tracker_id)
            due_at = BLOCKED if tracker in first else now
            first.add(tracker)
            rows.append(DispatchRow(*tracker, change.move or 0, change.event_id or "", due_at, 0, None, None, now))
        if rows:
            note_changes(connection)
        return self._add_dispatches.execute(connection, rows)

    def _write_shipment_changes(
        self, connection: Connection, batch_state: BatchState
    ) -> list[tuple[str, EventRow | ShipmentChangeRow]]:
        """Write the changes of senders' own milestones that a target wants; return them, each with its target."""
        wanted: list[tuple[str, EventRow | ShipmentChangeRow]] = []
        rows: list[ShipmentChangeRow] = []
        for item, before, after in batch_state.shipment_changes:
            change = make_shipment_change(item.message_id, item.delivery.received_at, before, after)
            milestones = (change.old_shipment_milestone, change.shipment_milestone)
            targets = [each.target for each in self._shipment_subscriptions if each.wants(change.source, *milestones)]
            if targets:
                rows.append(change)
                wanted += [(target, change) for target in targets]
        self._add_shipment_changes.execute(connection, rows)
        return wanted


def _is_revised(batch_state: BatchState, identity: tuple[str, str, str], digests: set[str]) -> bool:
    current = batch_state.timelines.current.get(identity)
    return len(digests) > 1 or (current is not None and current.digest not in digests)


def _bound_clock(tracker: TrackerRow | None, received_at: int) -> int:
    """Return the latest possible `generated_at` of an event whose row has none, because version 0.1 wrote it.

    Its message was built before it arrived, and not after the latest snapshot of its tracker. So a version from a message that
    was built after both supersedes it. A version from an older message that arrives late does not.
    """
    return 0 if tracker is None else max(0, min(received_at, tracker.snapshot_generated_at))


def is_same_event(old: Any, new: Any) -> Any:
    """Return the condition for replacing an event: always, because its tracker is locked. A batch may correct an event twice."""
    return old.event_id == new.event_id


def is_next(old: Any, new: Any) -> Any:
    """Return the condition for replacing a tracker: no other process changed it since it was read."""
    return old.version == new.version - literal_column("1")


def is_later(old: Any, new: Any) -> Any:
    """Return the condition for replacing a link: the new one is later."""
    return old.linked_at < new.linked_at
