"""What senders post to. The order of one call stands in `Webhook._take`: gate, bounded read, parse, store, answer.

The gate needs only headers, so a call without a token never gets a byte of its body into memory.
"""

from functools import partial

from starlette.types import Receive, Scope, Send

from receiver import intake
from receiver.errors import Busy, Refused
from receiver.records import Answer, Delivery, Submission, Unread
from receiver.sources import Source
from receiver.web.body import BodyReader
from receiver.web.desk import Desk
from receiver.web.door import NOT_ADMITTED, Door
from receiver.web.responses import send_answer

MAX_READ_HERE_BYTES = 32 * 2**10


class Webhook:
    """The endpoint of one path of one sender, as an ASGI application."""

    def __init__(self, source: Source, door: Door, bodies: BodyReader, desk: Desk) -> None:
        self._source = source
        self._door = door
        self._bodies = bodies
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call. HEAD is 200 for anybody: Ship24 asks so before it lets the URL be saved."""
        if scope["method"] == "HEAD":
            await send_answer(send, Answer(200, b""))
        else:
            await send_answer(send, await self._take(scope, receive))

    async def _take(self, scope: Scope, receive: Receive) -> Answer:
        caller = self._door.identify(scope)
        admission, body = NOT_ADMITTED, b""
        try:
            admission = self._door.admit(scope, caller)
            body = await self._bodies.read(receive, caller.headers.content_length)
        except (Refused, Busy) as error:
            return await self._desk.put_on_record(self._door.make_delivery(scope, caller, admission, body), error)
        try:
            delivery = self._door.make_delivery(scope, caller, admission, body)
            return await self._desk.keep(delivery, partial(self._read, delivery, caller.headers.codings))
        finally:
            self._bodies.release(body)

    def _read(self, delivery: Delivery, codings: tuple[str, ...]) -> Submission | Unread:
        """Read a small body. To inflate, or to parse a large one, would hold up the event loop."""
        if codings or len(delivery.body) > MAX_READ_HERE_BYTES:
            return Unread(delivery, codings)
        return intake.take(self._source, delivery)
