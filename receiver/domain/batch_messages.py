"""The messages of one batch by id: known ones, new ones, and repaired copies of quarantined ones. Pure.

A message in quarantine, or with a quarantined event, may be sent again with other content. Such a repaired copy is decided and
replaces the row of the earlier copy.
"""

from dataclasses import dataclass, field

from receiver.domain.records import Delivery, Message
from receiver.domain.rows import MessageRow, RepeatedMessageRow
from receiver.domain.verdicts import Verdict


@dataclass(slots=True)
class BatchMessages:
    """The messages that a batch names, by source and message id, and the rows to write.

    Storage fills `known` and `partly` (messages of which a part is in quarantine), and every item adds to them. `new` are rows to
    insert, `rewritten` pairs of a known row as it was read and as it is now.
    """

    known: dict[tuple[str, str], MessageRow] = field(default_factory=dict)
    partly: set[tuple[str, str]] = field(default_factory=set)
    new: dict[tuple[str, str], MessageRow] = field(default_factory=dict)
    rewritten: dict[tuple[str, str], tuple[MessageRow, MessageRow]] = field(default_factory=dict)

    def is_repaired(self, kept: MessageRow, message: Message) -> bool:
        """Tell whether a message is a repaired copy of a known one: other content, and the known one is wholly or partly
        quarantined."""
        if kept.digest == message.digest:
            return False
        if kept.outcome == "quarantined":
            return True
        key = (kept.source, kept.message_id)
        return key in self.partly and message.flaw is None and message.tracker_id == kept.tracker_id

    def add(self, row: MessageRow, *, partly: bool) -> None:
        """Add a new message. `partly`: a part of it is in quarantine."""
        key = (row.source, row.message_id)
        self.known[key] = self.new[key] = row
        if partly:
            self.partly.add(key)

    def repair(self, kept: MessageRow, row: MessageRow, *, partly: bool) -> RepeatedMessageRow:
        """Replace the row of a message by that of a repaired copy; return a row that keeps the earlier copy with its delivery."""
        self.rewrite(kept, row)
        key = (row.source, row.message_id)
        (self.partly.add if partly else self.partly.discard)(key)
        return make_repeated_row(kept)

    def rewrite(self, kept: MessageRow, row: MessageRow) -> None:
        """Change the row of a known message."""
        key = (row.source, row.message_id)
        self.known[key] = row
        if key in self.new:
            self.new[key] = row
        else:
            as_read, _ = self.rewritten.get(key, (kept, None))
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


def make_repeated_row(row: MessageRow) -> RepeatedMessageRow:
    """Return the row of a copy that no longer has a row among the messages: another copy replaced it."""
    place = (row.delivery_id, row.position, row.source, row.message_id)
    return RepeatedMessageRow(*place, row.outcome, row.reason, row.received_at)
