"""Reading the orders of the API: a JSON body and nothing else."""

from typing import TypeVar

from starlette.requests import Request

from receiver.web.api.parameters import CommandBody, EmptyQuery, read_body, read_query

_O = TypeVar("_O", bound=CommandBody)


async def read_order(kind: type[_O], request: Request, default: bytes = b"") -> _O:
    """Read the body of a POST request. Raises UnexpectedShape that names the field, or a parameter in the URL."""
    read_query(EmptyQuery, request.query_params.multi_items())  # one that is overlooked could be the one that matters
    return read_body(kind, await request.body() or default)
