"""Answers as ASGI messages and as Starlette responses."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from receiver import answers
from receiver.errors import CallerGone, MethodNotAllowed, NotFound, ReceiverError
from receiver.records import Answer

_JSON = (b"content-type", b"application/json")


def list_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    """Return all headers of an answer; an empty one carries no type."""
    length = (b"content-length", str(len(answer.body)).encode())
    return [length, _JSON, *answer.headers] if answer.body else [length, *answer.headers]


async def send_answer(send: Send, answer: Answer) -> None:
    """Send an answer."""
    await send({"type": "http.response.start", "status": answer.status, "headers": list_headers(answer)})
    await send({"type": "http.response.body", "body": answer.body})


def to_response(answer: Answer) -> Response:
    """Return the same as a response object, for endpoints that are functions."""
    response = Response(answer.body, answer.status, media_type="application/json")
    response.raw_headers.extend(answer.headers)
    return response


async def on_receiver_error(_request: Request, error: Exception) -> Response:
    """Answer an error of ours in its own words."""
    assert isinstance(error, ReceiverError)
    return to_response(answers.for_error(error, None))


async def on_client_gone(_request: Request, _error: Exception) -> Response:
    """Return the answer that nobody waits for: a client that hangs up is no fault of this service, and no line of its log."""
    return to_response(answers.for_error(CallerGone("The caller hung up before its request was complete."), None))


async def on_fault(_request: Request, _error: Exception) -> Response:
    """Answer what should not happen; the log has the cause."""
    return to_response(answers.for_error(ReceiverError("This service failed to answer; its log says why."), None))


async def on_http_exception(_request: Request, error: Exception) -> Response:
    """Answer what the router refuses in the form that all errors have."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        response = to_response(answers.for_error(MethodNotAllowed("This path does not take that method."), None))
        response.headers["allow"] = (error.headers or {}).get("Allow", "")
        return response
    return to_response(answers.for_error(NotFound("There is nothing at this path."), None))
