"""From the bytes of one delivery to what storage decides. A replay enters here too."""

from collections.abc import Sequence

from receiver.errors import UnexpectedShape, Unreadable
from receiver.records import Delivery, Submission
from receiver.sources import Source


def take(source: Source, delivery: Delivery) -> Submission:
    """Read a delivery into messages. One that cannot be read is still handed on, with all its bytes and the error."""
    try:
        return Submission(delivery, tuple(source.split(delivery.body)))
    except Unreadable as error:
        return Submission(delivery, error=error)


def take_again(sources: Sequence[Source], delivery: Delivery) -> Submission:
    """Read a kept delivery into messages, as its source reads bodies now. Raises UnexpectedShape for a call of another kind."""
    source = next((s for s in sources if (s.name, s.kind) == (delivery.source, delivery.kind)), None)
    if source is None:
        raise UnexpectedShape("This call brought nothing that could be decided: it fetched something.")
    return take(source, delivery)
