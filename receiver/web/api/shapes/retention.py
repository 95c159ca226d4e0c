"""What was removed."""

from receiver.web.api.shapes.root import Shape


class Gone(Shape):
    """How much of a kind went."""

    rows: int
    content_bytes: int


class PruneAnswer(Shape):
    """What one call has pruned, by kind; while there is `more`, the next one goes on with this `run`."""

    run: str
    more: bool
    went: dict[str, Gone]
