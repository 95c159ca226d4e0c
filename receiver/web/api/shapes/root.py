"""What all shapes share."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Outcome = Literal["applied", "stale", "duplicate", "recorded", "quarantined"]
CallOutcome = Literal["accepted", "refused", "unreadable", "failed"]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Schema(BaseModel):
    """The root: an answer has exactly the fields that its shape names."""

    model_config = ConfigDict(extra="forbid")


class ErrorWords(Schema):
    """What was wrong, and what was expected."""

    code: str
    message: str


class ErrorAnswer(Schema):
    """Every error."""

    error: ErrorWords
    delivery_id: str | None = None
