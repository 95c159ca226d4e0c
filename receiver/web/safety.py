"""Security headers on every answer, and an error in JSON where no other code answers."""

import asyncio
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.domain import answers
from receiver.errors import Busy, ReceiverError
from receiver.web.responses import is_ops, make_fault, send_answer

_EVERYWHERE = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
_OPS = (
    *_EVERYWHERE,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


Headers = Iterable[tuple[bytes, bytes]]


def secure(path: str, headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer with the security headers of its area. A header that is there already stays."""
    given = list(headers)
    names = {name for name, _ in given}
    return [*given, *(header for header in (_OPS if is_ops(path) else _EVERYWHERE) if header[0] not in names)]


class SafeAnswers:
    """The outermost middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer an error if it fails without an answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_answered = False

        async def send_safely(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                message["headers"] = secure(scope["path"], message.get("headers", ()))
            await send(message)

        error: ReceiverError = make_fault()
        try:
            await self._app(scope, receive, send_safely)
        except asyncio.CancelledError:
            error = Busy("The service is stopping. Send it again.")
            raise
        finally:
            if not is_answered:
                await send_answer(send_safely, answers.for_error(error, None))
