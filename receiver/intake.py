"""From the bytes of one delivery to what storage decides. A replay enters here too."""

from receiver.errors import Unreadable
from receiver.records import Delivery, Submission
from receiver.sources import Source


def take(source: Source, delivery: Delivery) -> Submission:
    """Read a delivery into messages. One that cannot be read is still handed on, with all its bytes and the error."""
    try:
        return Submission(delivery, tuple(source.split(delivery.body)))
    except Unreadable as error:
        return Submission(delivery, error=error)
