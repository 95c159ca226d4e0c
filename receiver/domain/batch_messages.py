"""The messages of one batch by id: stored ones, new ones, and repaired copies of quarantined ones. Pure.

A message in quarantine, or with a quarantined event, may be sent again with other content. Such a repaired copy is decided and
replaces the row of the earlier copy.
"""

from dataclasses import dataclass, field
from hashlib import blake2b

from receiver.domain.records import Delivery, Message
from receiver.domain.rows import MessageRow, RepeatedMessageRow, derive
from receiver.domain.verdicts import Verdict

_IMPORTED = "import:"  # the beginning of an id that `name_imported` makes


@dataclass(slots=True)
class BatchMessages:
    """The messages that a batch names, by source and message id, and the rows to write.

    Storage fills `known` and `partly` (messages with a part in quarantine), and every item adds to them. `new` are rows to
    insert, `rewritten` pairs of a known row as it was read and as it is now. `replaced` has the places (delivery id and position)
    of copies that a repaired copy has replaced, with the time of its receipt.
    """

    known: dict[tuple[str, str], MessageRow] = field(default_factory=dict)
    partly: set[tuple[str, str]] = field(default_factory=set)
    new: dict[tuple[str, str], MessageRow] = field(default_factory=dict)
    rewritten: dict[tuple[str, str], tuple[MessageRow, MessageRow]] = field(default_factory=dict)
    replaced: dict[tuple[str, int], int] = field(default_factory=dict)

    def is_repaired(self, known: MessageRow, message: Message) -> bool:
        """Tell whether a message is a repaired copy of a known one.

        It is if its content differs, and the known message is wholly or partly in quarantine.
        """
        if known.digest == message.digest:
            return False
        if known.outcome == "quarantined":
            return True
        key = (known.source, known.message_id)
        return key in self.partly and message.quarantine_reason is None and message.tracker_id == known.tracker_id

    def add(self, row: MessageRow, *, partly: bool) -> None:
        """Add a new message. `partly`: a part of it is in quarantine."""
        key = (row.source, row.message_id)
        self.known[key] = self.new[key] = row
        if partly:
            self.partly.add(key)

    def repair(self, known: MessageRow, row: MessageRow, *, partly: bool) -> RepeatedMessageRow:
        """Replace the row of a message by that of a repaired copy; return a row that records the earlier copy."""
        self.rewrite(known, row)
        self.replaced[known.delivery_id, known.position] = row.received_at
        key = (row.source, row.message_id)
        (self.partly.add if partly else self.partly.discard)(key)
        return make_repeated_row(known)

    def rewrite(self, known: MessageRow, row: MessageRow) -> None:
        """Change the row of a known message."""
        key = (row.source, row.message_id)
        self.known[key] = row
        if key in self.new:
            self.new[key] = row
        else:
            as_read, _ = self.rewritten.get(key, (known, None))
            self.rewritten[key] = (as_read, row)


def make_message_row(delivery: Delivery, message: Message, message_id: str, verdict: Verdict) -> MessageRow:
    """Return the row of a message of this delivery."""
    return MessageRow(
        delivery.source,
        message_id,
        message.tracker_id,
        message.topic,
        verdict.outcome,
        verdict.reason,
        delivery.id,
        message.position,
        message.digest,
        delivery.received_at,
    )


def is_nameless(row: MessageRow) -> bool:
    """Tell whether the sender gave the message no id, so that it is named after its delivery, or after its import."""
    return row.message_id == name_by_place(row.delivery_id, row.position) or row.message_id.startswith(_IMPORTED)


def name_by_place(delivery_id: str, position: int) -> str:
    """Return the id of a message to which its sender gave none."""
    return f"{delivery_id}:{position}"


def name_anonymous(message: Message, message_id: str) -> Message:
    """Return an anonymous message with this id, for itself and for its events."""
    return message._replace(
        message_id=message_id, events=tuple([event._replace(event_id=message_id) for event in message.events])
    )


def name_imported(delivery: Delivery, message: Message) -> Message:
    """Return a message of an import with an id, if its sender gives it none.

    The id is made of tracker, content and the time when it was first sent, so the same file again has only duplicates. Without
    that time, the number of the body in its file takes its place.
    """
    if not message.is_anonymous:
        return message
    place = f"body {delivery.body_number}" if delivery.sent_at is None else f"at {delivery.sent_at}"
    parts = "\0".join((message.tracker_id or "", message.digest, place, str(message.position)))
    name = blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return message._replace(message_id=f"{_IMPORTED}{name}")


def make_repeated_row(row: MessageRow) -> RepeatedMessageRow:
    """Return the row of a copy that no longer has a row among the messages: another copy replaced it."""
    return derive(RepeatedMessageRow, row)
