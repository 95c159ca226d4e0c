"""The parts that several schemas share."""

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]

T = TypeVar("T", bound=BaseModel)


class Schema(BaseModel):
    """The base of all answers. An answer has exactly the fields of its schema."""

    model_config = ConfigDict(extra="forbid")


class ItemList(Schema, Generic[T]):
    """A page of a list. `next` is the cursor of the next page, null on the last one."""

    items: list[T]
    next: str | None


class ErrorWords(Schema):
    """The code and the text of an error."""

    code: str
    message: str


class ErrorAnswer(Schema):
    """The body of every error."""

    error: ErrorWords
    delivery_id: str | None = None
