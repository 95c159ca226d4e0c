"""Reading of deliveries into messages, for webhooks, imports and replays."""

from collections.abc import Sequence

from receiver.domain.batch_messages import name_imported
from receiver.domain.records import WEBHOOK, Delivery, Submission, UnreadDelivery
from receiver.errors import BodyTooLarge, ReadingFailed, UnexpectedShape, Unreadable, name_error
from receiver.sources import Source
from receiver.sources.codings import inflate

_CODED_BODY_HEADERS = {"content-encoding", "content-length"}


def parse_delivery(source: Source, delivery: Delivery) -> Submission:
    """Read a delivery into messages.

    If it cannot be read, or our own code fails on it, the submission has all its bytes and the error.
    """
    try:
        messages = source.split(delivery.body)
        if delivery.origin != WEBHOOK:
            messages = [name_imported(delivery, message) for message in messages]
        return Submission(delivery, tuple(messages))
    except Unreadable as error:
        return Submission(delivery, error=error)
    except Exception as error:
        return Submission(delivery, error=ReadingFailed(name_error(error)))


def parse_unread(sources: Sequence[Source], max_body_bytes: int, unread: UnreadDelivery) -> Submission:
    """Read a delivery whose body may be compressed. The body is stored inflated, so that nothing else has to inflate it.

    If it cannot be inflated, the submission has the compressed bytes; if it is too large, none.
    """
    delivery = unread.delivery
    if not unread.codings:
        return parse_stored(sources, delivery)
    try:
        body = inflate(delivery.body, unread.codings, max_body_bytes)
    except Unreadable as error:
        return Submission(delivery, error=error)
    except BodyTooLarge as error:
        return Submission(delivery._replace(body=b""), error=error)
    except Exception as error:
        return Submission(delivery, error=ReadingFailed(name_error(error)))
    return parse_stored(sources, _note_inflated(delivery, body, unread.codings))


def _note_inflated(delivery: Delivery, body: bytes, codings: Sequence[str]) -> Delivery:
    """Return the delivery with its inflated body, and with a note instead of the headers about the compressed one."""
    note = f"stored inflated: the body came as {', '.join(codings)}, {len(delivery.body)} bytes"
    headers = tuple(pair for pair in delivery.headers if pair[0] not in _CODED_BODY_HEADERS)
    return delivery._replace(body=body, headers=headers, note=f"{delivery.note}; {note}" if delivery.note else note)


def parse_stored(sources: Sequence[Source], delivery: Delivery) -> Submission:
    """Read a stored delivery as its source reads bodies now. Raises UnexpectedShape for a delivery without a source."""
    source = next((s for s in sources if (s.name, s.kind) == (delivery.source, delivery.kind)), None)
    if source is None:
        raise UnexpectedShape("A customer list download has no messages to reprocess.")
    return parse_delivery(source, delivery)
