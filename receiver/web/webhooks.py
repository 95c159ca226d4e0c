"""The webhook endpoints. `WebhookEndpoint._take` shows the order: authenticate, bounded read, parse, store, answer.

Authentication needs only the headers, so no byte of the body of an unauthenticated delivery is held in memory.
"""

from collections.abc import Sequence
from functools import partial

from starlette.types import Receive, Scope, Send

from receiver.access import probe
from receiver.access.bearer import Secret
from receiver.access.guard import NOT_ADMITTED, Client, RequestGuard
from receiver.domain import answers
from receiver.domain.records import Answer, Delivery, Submission, UnreadDelivery
from receiver.errors import Busy, Refused, UnexpectedShape
from receiver.sources import Source, intake
from receiver.web.body import BodyReader
from receiver.web.responses import send_answer
from receiver.writer.client import WriterClient

MAX_READ_HERE_BYTES = 32 * 2**10


class WebhookEndpoint:
    """The endpoint of one path of one sender, as an ASGI application. It also answers the probes of `doctor`."""

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
        """Answer one request. HEAD is always 200: Ship24 sends one before it saves the URL.

        A HEAD request with the header of a probe learns whether the probe is accepted, so that `doctor` never posts a delivery.
        """
        if scope["method"] == "HEAD":
            accepted = self._is_probe(self._request_guard.identify(scope))
            headers = ((probe.HEADER.encode(), probe.ACCEPTED.encode()),) if accepted else ()
            await send_answer(send, Answer(200, b"", headers))
        else:
            await send_answer(send, await self._take(scope, receive))

    async def _take(self, scope: Scope, receive: Receive) -> Answer:
        client = self._request_guard.identify(scope)
        if self._is_probe(client):
            return await self._answer_probe(scope, receive, client)
        admission, body = NOT_ADMITTED, b""
        try:
            admission = self._request_guard.admit(scope, client)
            body = await self._bodies.read(receive, client.headers.content_length)
        except (Refused, Busy) as error:
            return await self._writer_client.put_on_record(
                self._request_guard.make_delivery(scope, client, admission, body), error
            )
        try:
            delivery = self._request_guard.make_delivery(scope, client, admission, body)
            return await self._writer_client.keep(delivery, partial(self._read, delivery, client.headers.codings))
        finally:
            self._bodies.release(body)

    def _is_probe(self, client: Client) -> bool:
        headers = client.headers
        return probe.is_probe(self._ops_tokens, self._source.path, headers.authorization, headers.probe, client.arrived_at)

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
