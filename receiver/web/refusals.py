"""Answers to requests whose framing the protocol refused: in JSON, and on record where the path is a source's."""

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
    """Lets requests through that are framed well. `doors` are those of the sources, by path."""

    def __init__(self, app: ASGIApp, doors: Mapping[str, RequestGuard], desk: WriterClient) -> None:
        self._app = app
        self._doors = doors
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the protocol's error, or pass the request on."""
        error = find_refusal(scope)
        if error is None:
            await self._app(scope, receive, send)
        else:
            await send_answer(send, await self._refuse(scope, error))

    async def _refuse(self, scope: Scope, error: ReceiverError) -> Answer:
        door = self._doors.get(scope["path"])
        if door is None:
            return answers.for_error(error, None)
        delivery = door.make_delivery(scope, door.identify(scope), NOT_ADMITTED, b"")
        return await self._desk.put_on_record(delivery, error)
