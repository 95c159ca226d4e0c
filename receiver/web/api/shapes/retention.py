"""What was removed."""

from pydantic import Field

from receiver.web.api.shapes.root import Schema


class Gone(Schema):
    """How much of a kind went."""

    rows: int
    content_bytes: int


class ForgetAnswer(Schema):
    """What was forgotten: bodies that went whole, bodies that were rewritten, parts in quarantine that were emptied."""

    source: str
    tracker_id: str
    removed: int
    rewritten: int
    emptied: int
    log_emptied: bool = Field(description="false: a reader was in the way; removed bytes may stand in the log file of SQLite yet")


class PruneAnswer(Schema):
    """What one call has pruned, by kind; while there is `more`, the next one goes on with this `run`."""

    run: str
    more: bool
    went: dict[str, Gone]
