"""What crosses the boundaries between modules: records that cannot change, nothing else.

A *delivery* is one HTTP call. It carries *messages* (items of `trackings`), each of which tells *events* of one *tracker*.
A *verdict* says what became of a message or an event.

All of them are named tuples: as frozen as frozen dataclasses, made in a fifth of the time (a call makes eight), and a row goes
into its statement as it is.

Moments of our own (`…_at`) are microseconds since 1970, UTC; a courier's times are the text that came.
"""

from typing import NamedTuple

from receiver.domain.verdicts import Verdict
from receiver.errors import ReceiverError


class Delivery(NamedTuple):
    """One HTTP call as it came. The Authorization header never gets this far.

    `id` is a UUID of version 7, made at arrival; a redelivery is another delivery with another id.
    `peer` is the address of the connection, `client` the address that the door resolved (None: not resolvable).
    `token` is the *name* of the token that matched. `note`: what the policy would have refused, or the window that let it in.
    `headers` are pairs of lower-case names and values, without secrets.
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


class Event(NamedTuple):
    """One thing that a courier says happened to a parcel.

    `event_id` is the sender's, kept across redeliveries and regroupings, or else derived from the content.
    `occurrence` is the courier's time as written. `by_arrival`: arrival decides between equal times, and where there is none.
    `raw` is its whole content as canonical JSON; equal digests are equal events.
    `flaw` is the reason for which it cannot be applied and goes to quarantine.
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
    flaw: str | None = None
    ordered_by_arrival: bool = False


class Snapshot(NamedTuple):
    """The details of a tracker as the sender knew them when it built the message: of two the later one stands.

    `shipment` is the block as compact JSON; it may hold personal data. None means that there is no block: such details never
    replace others that have one. `shipment_milestone` is the sender's own view in that block.
    """

    tracking_number: str | None
    client_tracker_id: str | None
    shipment_reference: str | None
    shipment: str | None
    shipment_milestone: str | None = None


class Link(NamedTuple):
    """A package travels with a manifest; both are trackers of one source."""

    package: str
    manifest: str


class Message(NamedTuple):
    """One item of a delivery, in the words of this service.

    `message_id` is the identity of the item, not of the request: it survives redelivery and regrouping.
    Where the sender gives no identity and no time, `by_state` is set and `message_id` is None: equal to what set the tracker's
    present state it is a duplicate, else a new message, named by its delivery and position.
    `subject` is what the tracker stands for: `parcel`, `package` or `manifest`.
    `flaw` is the reason for which the whole message goes to quarantine, `detail` what was expected, in a sentence.
    `raw` is the item as canonical JSON; equal digests are equal items.
    `generated_at` is when the sender built the item, on its clock, in microseconds since 1970, UTC; 0 where it does not say; None
    where the sender has no such clock: then arrival counts. It decides between details and between versions of one event.
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
    flaw: str | None = None
    detail: str | None = None
    generated_at: int | None = None


class Answer(NamedTuple):
    """What we answer to a call: an HTTP status, JSON bytes and further headers."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Submission(NamedTuple):
    """A delivery on its way to storage: read into messages, or with the error that is its answer.

    A call that fetched something comes with the answer that it got already, and with the number that was `served`.
    """

    delivery: Delivery
    messages: tuple[Message, ...] = ()
    error: ReceiverError | None = None
    answer: Answer | None = None
    served: int | None = None


class UnreadDelivery(NamedTuple):
    """A delivery whose body the writing process reads: it is large, or compressed.

    `codings` are those of its Content-Encoding, in the order in which they were applied.
    """

    delivery: Delivery
    codings: tuple[str, ...] = ()


class Receipt(NamedTuple):
    """What became of a delivery: one verdict a message, in body order. The answer to the sender is made from it."""

    delivery_id: str
    messages: tuple[tuple[str | None, Verdict], ...]
