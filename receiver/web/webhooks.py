"""The webhook endpoints. `WebhookEndpoint._take` shows the order: authenticate, bounded read, parse, store, answer.

Authentication needs only the headers, so no byte of the body of an unauthenticated delivery is held in memory.
"""

from collections.abc import Sequence
from functools import partial

import structlog
from starlette.types import Receive, Scope, Send

from receiver.access import marks, probe
from receiver.access.bearer import Secret
from receiver.access.guard import NOT_ADMITTED, Client, RequestGuard
from receiver.access.marks import MarkedTest
from receiver.domain import answers
from receiver.domain.records import Answer, Delivery, Submission, UnreadDelivery
from receiver.errors import Busy, Refused, UnexpectedShape
from receiver.sources import Source, intake
from receiver.web.body import BodyReader
from receiver.web.responses import send_answer
from receiver.writer.client import WriterClient

MAX_READ_HERE_BYTES = 128 * 2**10
_ACCEPTED = ((marks.HEADER.encode(), marks.ACCEPTED.encode()),)

_log = structlog.get_logger()


class WebhookEndpoint:
    """The endpoint of one path of one sender, as an ASGI application.

    It also answers the probes of `doctor`, and takes marked deliveries of tests.
    """

    def __init__(
        self,
        source: Source,
        request_guard: RequestGuard,
        bodies: BodyReader,
        writer_client: WriterClient,
        ops_tokens: Sequence[Secret],
    ) -> None:
        self._source = source
        self._request_guard = request_guard
        self._bodies = bodies
        self._writer_client = writer_client
        self._ops_tokens = ops_tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer to one request."""
        await send_answer(send, await self.answer(scope, receive))

    async def answer(self, scope: Scope, receive: Receive) -> Answer:
        """Return the answer to one request. HEAD is always 200: Ship24 sends one before it saves the URL.

        A HEAD request with the header of a probe or a test learns whether that is accepted: `doctor` never posts a delivery, and
        a test posts none that would count as a real one.
        """
        client = self._request_guard.identify(scope)
        if scope["method"] == "HEAD":
            accepted = client.headers.test is not None and (self._is_probe(client) or self._is_marked(client))
            return Answer(200, b"", _ACCEPTED if accepted else ())
        if client.headers.test is None:
            return await self._take(scope, receive, client)
        if self._is_probe(client):
            return await self._answer_probe(scope, receive, client)
        return await self._take_test(scope, receive, client)

    async def _take(self, scope: Scope, receive: Receive, client: Client) -> Answer:
        admission, body = NOT_ADMITTED, b""
        try:
            admission = self._request_guard.admit(scope, client)
            body = await self._bodies.read(receive, client.headers.content_length)
        except (Refused, Busy) as error:
            return await self._writer_client.record_refused(
                self._request_guard.make_delivery(scope, client, admission, body), error
            )
        try:
            delivery = self._request_guard.make_delivery(scope, client, admission, body)
            return await self._writer_client.store(delivery, partial(self._read, delivery, client.headers.codings))
        finally:
            self._bodies.release(body)

    async def _take_test(self, scope: Scope, receive: Receive, client: Client) -> Answer:
        """Take a delivery of a test, if its mark is accepted; otherwise it is a real one.

        The body of a marked delivery is read before its bearer token is checked: the mark counts for this body only, and a test
        also sends wrong tokens.
        """
        mark = self._read_mark(client)
        if mark is None:
            _log.warning("test_mark_refused", source=self._source.name, cause="It is invalid, old, or of another ops token.")
            return await self._take(scope, receive, client)
        try:
            body = await self._bodies.read(receive, client.headers.content_length)
        except (Refused, Busy) as error:
            return await self._writer_client.record_refused(
                self._request_guard.make_delivery(scope, client, NOT_ADMITTED, b""), error
            )
        try:
            return await self._take_marked(scope, client, mark, body)
        finally:
            self._bodies.release(body)

    async def _take_marked(self, scope: Scope, client: Client, mark: MarkedTest, body: bytes) -> Answer:
        accepted = mark if mark.covers(body) else None
        if accepted is None:
            _log.warning("test_mark_refused", source=self._source.name, cause="It was made for another body.")
        headers = () if accepted is None else _ACCEPTED
        try:
            admission = self._request_guard.admit(scope, client)
        except Refused as error:
            delivery = self._request_guard.make_delivery(scope, client, NOT_ADMITTED, b"", accepted)
            answer = await self._writer_client.record_refused(delivery, error)
        else:
            delivery = self._request_guard.make_delivery(scope, client, admission, body, accepted)
            answer = await self._writer_client.store(delivery, partial(self._read, delivery, client.headers.codings))
        return answer._replace(headers=(*answer.headers, *headers))

    def _read_mark(self, client: Client) -> MarkedTest | None:
        headers = client.headers
        return marks.read_mark(self._ops_tokens, self._source.name, headers.authorization, headers.test or b"", client.arrived_at)

    def _is_marked(self, client: Client) -> bool:
        mark = self._read_mark(client)
        return mark is not None and mark.covers(b"")

    def _is_probe(self, client: Client) -> bool:
        headers = client.headers
        return probe.is_probe(self._ops_tokens, self._source.path, headers.authorization, headers.test, client.arrived_at)

    async def _answer_probe(self, scope: Scope, receive: Receive, client: Client) -> Answer:
        """Answer as for a sender, but record and count nothing. Refuse a body that would be stored."""
        try:
            self._request_guard.admit(scope, client)
            body = await self._bodies.read(receive, client.headers.content_length)
        except (Refused, Busy) as error:
            return answers.for_error(error, None)
        self._bodies.release(body)
        if body != self._source.empty_body:
            expected = self._source.empty_body.decode()
            return answers.for_error(UnexpectedShape(f"Expected the body {expected}: test requests are not stored."), None)
        return answers.for_probe()

    def _read(self, delivery: Delivery, codings: tuple[str, ...]) -> Submission | UnreadDelivery:
        """Parse a small body; leave a large or compressed one to the writing process, as it would block the event loop."""
        if codings or len(delivery.body) > MAX_READ_HERE_BYTES:
            return UnreadDelivery(delivery, codings)
        return intake.parse_delivery(self._source, delivery)
