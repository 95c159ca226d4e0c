"""`GET /shiipp/customers`: the streamed customer list, which Shiipp fetches every eight hours.

Source: docs.aeoral.com, "Customer list format" and "Sync errors": exactly 200, `application/json`, an array at the root. `[]` is
a successful sync without customers, so no error is ever answered with it.
"""

import asyncio

from starlette.types import Receive, Scope, Send

from receiver.access.guard import NOT_ADMITTED, RequestGuard
from receiver.domain.records import Answer, Delivery, Submission
from receiver.errors import ClientGone, NoCustomerList, ReceiverError, StorageUnavailable
from receiver.storage.customers import CustomerList, latest_customer_list, read_customer_page
from receiver.storage.database import Database
from receiver.web.responses import send_answer
from receiver.writer.client import WriterClient

_JSON = (b"content-type", b"application/json")

_Found = tuple[CustomerList, list[tuple[str, str]]]


class CustomerEndpoint:
    """The endpoint as an ASGI application."""

    def __init__(self, request_guard: RequestGuard, database: Database, writer_client: WriterClient) -> None:
        self._request_guard = request_guard
        self._database = database
        self._writer_client = writer_client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: authenticate, find the list, send its pages, record the request."""
        client = self._request_guard.identify(scope)
        admission = NOT_ADMITTED
        try:
            admission = self._request_guard.admit(scope, client)
            found = await asyncio.to_thread(self._find_list)
        except ReceiverError as error:
            delivery = self._request_guard.make_delivery(scope, client, admission, b"")
            await send_answer(send, await self._writer_client.record_refused(delivery, error))
            return
        delivery = self._request_guard.make_delivery(scope, client, admission, b"")
        disconnected = asyncio.create_task(_wait_for_disconnect(receive))
        try:
            served = await self._serve(scope, send, delivery, found, disconnected)
            await self._writer_client.store(delivery, lambda: served)
        finally:
            disconnected.cancel()

    def _find_list(self) -> tuple[CustomerList, list[tuple[str, str]]]:
        """Return the list and its first page, so that errors of the database come before the 200.

        Raises NoCustomerList or StorageUnavailable.
        """
        latest = latest_customer_list(self._database)
        if latest is None:
            raise NoCustomerList("No customer list was imported yet. Run `receiver customers import FILE` first.")
        page = read_customer_page(self._database, latest.id, "")
        if not page and latest.customers:
            raise StorageUnavailable("The customer list cannot be read.")
        return latest, page

    async def _serve(
        self, scope: Scope, send: Send, delivery: Delivery, found: _Found, disconnected: asyncio.Task[None]
    ) -> Submission:
        """Send the list; return the record of it: the answer without its body, and the number of customers that were sent."""
        latest, page = found
        tag = f'"{latest.id}"'.encode()
        if any(tag in value for name, value in scope["headers"] if name == b"if-none-match"):
            answer = Answer(304, b"", ((b"etag", tag),))
            await send_answer(send, answer)
            return Submission(delivery, answer=answer, served=0)
        length = str(latest.body_bytes).encode()
        headers = [_JSON, (b"content-length", length), (b"etag", tag), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return Submission(delivery, answer=Answer(200, b""), served=0)
        served = 0
        try:
            while page and not disconnected.done():
                text = ",".join(document for _, document in page)
                body = (("," if served else "[") + text).encode()
                await send({"type": "http.response.body", "body": body, "more_body": True})
                served += len(page)
                page = await asyncio.to_thread(read_customer_page, self._database, latest.id, page[-1][0])
            if disconnected.done():
                raise ClientGone(f"The client disconnected after {served} of {latest.customers} customers.")
            if served < latest.customers:
                raise StorageUnavailable(f"The list ended after {served} of {latest.customers} customers.")
        except ReceiverError as error:  # the connection closes before the declared length, so no short list looks complete
            return Submission(delivery, error=error, served=served)
        await send({"type": "http.response.body", "body": b"]" if served else b"[]"})
        return Submission(delivery, answer=Answer(200, b""), served=served)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
