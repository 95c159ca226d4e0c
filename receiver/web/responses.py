"""Answers as ASGI messages and as Starlette responses."""

from http import HTTPStatus

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from receiver.domain import answers
from receiver.domain.records import Answer
from receiver.errors import (
    BadRequest,
    BodyTooLarge,
    Busy,
    ClientGone,
    HeadersTooLarge,
    ReceiverError,
    TooManyAttempts,
    UnexpectedShape,
    UnsupportedEncoding,
)

_JSON = (b"content-type", b"application/json")
_KINDS = (BadRequest, BodyTooLarge, UnsupportedEncoding, UnexpectedShape, TooManyAttempts, HeadersTooLarge, ReceiverError, Busy)
_CODES = {kind.status: kind.code for kind in _KINDS}


def is_ops(path: str) -> bool:
    """Return whether a path belongs to the console or the API."""
    return f"{path}/".startswith("/ops/")


def list_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    """Return all headers of an answer; an empty one has no content type."""
    length = (b"content-length", str(len(answer.body)).encode())
    return [length, _JSON, *answer.headers] if answer.body else [length, *answer.headers]


async def send_answer(send: Send, answer: Answer) -> None:
    """Send an answer."""
    await send({"type": "http.response.start", "status": answer.status, "headers": list_headers(answer)})
    await send({"type": "http.response.body", "body": answer.body})


def to_response(answer: Answer) -> Response:
    """Return an answer as a response object, for endpoints that are functions."""
    response = Response(answer.body, answer.status, media_type="application/json")
    response.raw_headers.extend(answer.headers)
    return response


async def on_receiver_error(_request: Request, error: Exception) -> Response:
    """Answer one of our own errors with its text."""
    assert isinstance(error, ReceiverError)
    return to_response(answers.for_error(error, None))


async def on_client_gone(_request: Request, _error: Exception) -> Response:
    """Answer a client that has disconnected. This is no error of the service, so nothing is logged."""
    return to_response(answers.for_error(ClientGone("The client disconnected before its request was complete."), None))


def make_fault() -> ReceiverError:
    """Return the error for an unexpected exception; the log has the cause."""
    return ReceiverError("Internal error. The log has the cause.")


async def on_fault(_request: Request, _error: Exception) -> Response:
    """Answer an unexpected exception."""
    return to_response(answers.for_error(make_fault(), None))


async def on_http_exception(_request: Request, error: Exception) -> Response:
    """Answer an error of the framework in the form of all errors, with its own status and headers."""
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code) or HTTPStatus(error.status_code).name.lower()
    message = "This method is not allowed here." if error.status_code == 405 else error.detail
    content = orjson.dumps({"error": {"code": code, "message": message}})
    return Response(content, error.status_code, error.headers, media_type="application/json")
