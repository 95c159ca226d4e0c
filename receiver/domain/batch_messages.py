"""The messages of one batch by their identities: which are known, and which of these come mended. Pure."""

from dataclasses import dataclass, field

from receiver.domain.records import Delivery, Message
from receiver.domain.rows import MessageRow, RepeatedMessageRow
from receiver.domain.verdicts import Verdict


@dataclass(slots=True)
class BatchMessages:
    """What is known of the messages that a batch names, by source and message id, and what to write.

    `known` and `partly` (the messages of which a part is in quarantine) are filled by storage and grow with every item. `new` are
    rows to add, `rewritten` rows that were known: each as it was read and as it is now.
    """

    known: dict[tuple[str, str], MessageRow] = field(default_factory=dict)
    partly: set[tuple[str, str]] = field(default_factory=set)
    new: dict[tuple[str, str], MessageRow] = field(default_factory=dict)
    rewritten: dict[tuple[str, str], tuple[MessageRow, MessageRow]] = field(default_factory=dict)

    def is_repaired(self, kept: MessageRow, message: Message) -> bool:
        """Tell whether a known message comes mended: with other content, where it is in quarantine or a part of it is."""
        if kept.digest == message.digest:
            return False
        if kept.outcome == "quarantined":
            return True
        key = (kept.source, kept.message_id)
        return key in self.partly and message.flaw is None and message.tracker_id == kept.tracker_id

    def add(self, row: MessageRow, *, partly: bool) -> None:
        """Take a message that was not known; `partly`: something of it was set apart."""
        key = (row.source, row.message_id)
        self.known[key] = self.new[key] = row
        if partly:
            self.partly.add(key)

    def repair(self, kept: MessageRow, row: MessageRow, *, partly: bool) -> RepeatedMessageRow:
        """Let a mended copy take the place of a message; return what keeps the earlier copy on record with its own delivery."""
        self.rewrite(kept, row)
        key = (row.source, row.message_id)
        (self.partly.add if partly else self.partly.discard)(key)
        return make_repeated_row(kept)

    def rewrite(self, kept: MessageRow, row: MessageRow) -> None:
        """Change the row of a message that is known."""
        key = (row.source, row.message_id)
        self.known[key] = row
        if key in self.new:
            self.new[key] = row
        else:
            as_read, _ = self.rewritten.get(key, (kept, None))
            self.rewritten[key] = (as_read, row)


def make_message_row(delivery: Delivery, message: Message, message_id: str, verdict: Verdict) -> MessageRow:
    """Return the row of a message that this delivery brought."""
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
    """Return what keeps a copy of a message on record whose row in the ledger is another copy's."""
    place = (row.delivery_id, row.position, row.source, row.message_id)
    return RepeatedMessageRow(*place, row.outcome, row.reason, row.received_at)
