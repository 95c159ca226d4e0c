"""Answers in JSON to requests with wrong framing; on the path of a source they are also recorded."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.access.guard import NOT_ADMITTED, RequestGuard
from receiver.domain import answers
from receiver.domain.records import Answer
from receiver.errors import ReceiverError
from receiver.web.protocol import find_refusal
from receiver.web.responses import send_answer
from receiver.writer.client import WriterClient


class RefusedRequests:
    """Middleware that answers requests with wrong framing. `request_guards` are those of the sources, by path."""

    def __init__(self, app: ASGIApp, request_guards: Mapping[str, RequestGuard], writer_client: WriterClient) -> None:
        self._app = app
        self._request_guards = request_guards
        self._writer_client = writer_client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the protocol's error, or pass the request on."""
        error = find_refusal(scope)
        if error is None:
            await self._app(scope, receive, send)
        else:
            await send_answer(send, await self._refuse(scope, error))

    async def _refuse(self, scope: Scope, error: ReceiverError) -> Answer:
        request_guard = self._request_guards.get(scope["path"])
        if request_guard is None:
            return answers.for_error(error, None)
        delivery = request_guard.make_delivery(scope, request_guard.identify(scope), NOT_ADMITTED, b"")
        return await self._writer_client.record_refused(delivery, error)
