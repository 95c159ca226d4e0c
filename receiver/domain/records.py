"""Records of what arrives and of our answers.

A *delivery* is one HTTP request of a sender. It contains *messages* (items of `trackings`), and each message contains *events* of
one *tracker*. A *verdict* (`verdicts`) is the result for a message or an event.

The records are named tuples: they cannot change, as frozen dataclasses, and are made in a fifth of the time. A delivery makes
about eight.

Our own times (`…_at`) are microseconds since 1970, UTC. A courier's times are the text that was sent.
"""

from typing import NamedTuple

from receiver.domain.verdicts import Verdict
from receiver.errors import ReceiverError

WEBHOOK = "webhook"
"""The origin of a delivery that its sender made itself (`imports.ORIGINS`)."""

DOWNLOAD = "customers"
"""The kind of a delivery that fetches the customer list. It has no messages, and says nothing about webhooks."""


class Delivery(NamedTuple):
    """One HTTP request as it arrived, without its Authorization header; or a body that was brought in.

    `id` is a UUID of version 7, made at arrival. A redelivery is another delivery with another id.
    `peer` is the address of the connection, `client` the resolved address of the sender (None: it could not be resolved).
    `token` is the *name* of the token that matched. `note` says why an address that is not on the list was admitted (the policy
    only reports it, or a setup window was open), and how a compressed body was stored.
    `headers` are pairs of lower-case names and values, without secrets.
    `test_run` is the run of the test that sent it (None: it is a real delivery); `hands_on`: its changes go to targets all the
    same. The second one is not stored, so a replay hands nothing on.
    `origin` says how it came (`imports.ORIGINS`). One that was brought in may have the time when it was first sent (`sent_at`),
    and has the 1-based number of its body in the imported file.
    """

    id: str
    source: str
    kind: str
    method: str
    path: str
    received_at: int
    peer: str | None
    client: str | None
    token: str | None
    note: str | None
    headers: tuple[tuple[str, str], ...]
    body: bytes
    test_run: str | None = None
    hands_on: bool = False
    origin: str = WEBHOOK
    sent_at: int | None = None
    body_number: int | None = None

    @property
    def arrival_at(self) -> int:
        """Return the time that decides where arrival decides: when a delivery was first sent, if it was brought in later."""
        return self.received_at if self.sent_at is None else self.sent_at

    @property
    def is_withheld(self) -> bool:
        """Tell whether no target gets the changes of this delivery."""
        return self.test_run is not None and not self.hands_on


class Event(NamedTuple):
    """One thing that happened to a parcel, as reported by a courier.

    `event_id` is the sender's id, which survives redelivery and regrouping. An event without one gets an id made of its content.
    `occurrence` is the courier's time as written. With `ordered_by_arrival` the time of arrival decides between equal times, and
    replaces a missing one.
    `raw` is the whole content as canonical JSON. Equal digests mean equal events.
    `quarantine_reason` is one of `verdicts.QUARANTINE_REASONS`, or None for an event that can be applied.
    """

    event_id: str
    occurrence: str | None
    order: int | None
    status: str | None
    status_code: str | None
    status_category: str | None
    status_milestone: str | None
    location: str | None
    courier_code: str | None
    raw: bytes
    digest: str
    quarantine_reason: str | None = None
    ordered_by_arrival: bool = False


class Snapshot(NamedTuple):
    """The details of a tracker as the sender knew them when it built the message. A later snapshot replaces an earlier one.

    `shipment` is the shipment block as compact JSON, or None if the message has no block. It may contain personal data. A
    snapshot without a block never replaces one with a block.
    `shipment_milestone` is the milestone in this block: the sender's own view.
    """

    tracking_number: str | None
    client_tracker_id: str | None
    shipment_reference: str | None
    shipment: str | None
    shipment_milestone: str | None = None


class Link(NamedTuple):
    """A package that travels with a manifest. Both are trackers of one source."""

    package: str
    manifest: str


class Message(NamedTuple):
    """One item of a delivery, in this service's own terms.

    `position` is the 0-based position of the item in the body.
    `message_id` identifies the item, not the request: it survives redelivery and regrouping.
    `is_anonymous`: the sender gives the item no id and no time, and `message_id` is None. If its content equals the message
    that set the tracker's current state, it is a duplicate. Otherwise it is a new message with an id made of delivery and
    position. One of an import already has an id of another kind (`imports.name_imported`).
    `subject` is the kind of the tracker: `parcel`, `package` or `manifest`.
    `quarantine_reason` is the reason to quarantine the whole message, `detail` a sentence that says what was expected.
    `raw` is the item as canonical JSON. Equal digests mean equal items.
    `generated_at` is the time when the sender built the item, by the sender's clock, in microseconds since 1970, UTC. It decides
    between snapshots and between versions of one event. 0: the item has no such time. None: the sender sends no such times, and
    the time of arrival decides.
    """

    position: int
    raw: bytes
    digest: str
    message_id: str | None = None
    tracker_id: str | None = None
    subject: str = "parcel"
    topic: str = ""
    snapshot: Snapshot | None = None
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()
    is_anonymous: bool = False
    quarantine_reason: str | None = None
    detail: str | None = None
    generated_at: int | None = None


class Answer(NamedTuple):
    """Our answer to a delivery: the HTTP status, the JSON body and further headers."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Submission(NamedTuple):
    """A delivery on its way to storage, with its messages or with the error that answers it.

    A download of the customer list already has its `answer`; `served` is the number of customers in it.
    `was_tried`: the commit of an earlier attempt was reported as failed. It may have been done all the same.
    """

    delivery: Delivery
    messages: tuple[Message, ...] = ()
    error: ReceiverError | None = None
    answer: Answer | None = None
    served: int | None = None
    was_tried: bool = False


class UnreadDelivery(NamedTuple):
    """A delivery with a large or compressed body, which the writing process reads.

    `codings` are the codings of its Content-Encoding, in the order in which they were applied.
    """

    delivery: Delivery
    codings: tuple[str, ...] = ()


class Receipt(NamedTuple):
    """The verdict of each message of a delivery, in body order. The answer to the sender is made from it."""

    delivery_id: str
    messages: tuple[tuple[str | None, Verdict], ...]
