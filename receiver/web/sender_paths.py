"""The paths of senders, led straight to their endpoints: nearly all requests of a busy service go there.

The router, the middleware for other paths and two ASGI messages for each answer took a quarter of the time of a delivery. An
endpoint limits its body itself (`web/body.py`), and its answers are never compressed.
"""

import asyncio
from collections.abc import Mapping, Sequence

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from receiver.domain import answers
from receiver.domain.records import Answer
from receiver.errors import Busy, ReceiverError
from receiver.monitoring.traces import Traces
from receiver.sources import Source
from receiver.web.protocol import find_refusal
from receiver.web.responses import list_headers, make_fault
from receiver.web.safety import secure
from receiver.web.webhooks import WebhookEndpoint


class SenderPaths:
    """The outermost middleware. Requests that are spelled in another way, or have wrong framing, go to `app` as all others."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, WebhookEndpoint]) -> None:
        self._app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to a sender's path; pass any other on. An unexpected error is answered, and raised for the log."""
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None or find_refusal(scope) is not None:
            await self._app(scope, receive, send)
            return
        answer: Answer | None = None
        try:
            answer = await endpoint.answer(scope, receive)
        except ReceiverError as error:
            answer = answers.for_error(error, None)
        except asyncio.CancelledError:
            answer = answers.for_error(Busy("The service is stopping. Send it again."), None)
            raise
        finally:
            await _send_whole(scope, send, answer or answers.for_error(make_fault(), None))


def make_webhook_routes(webhooks: Mapping[str, WebhookEndpoint], sources: Sequence[Source], traces: Traces | None) -> list[Route]:
    """Return the routes of the webhooks, for requests that go through the router; with `traces` each of them is watched."""
    if traces is None:
        return [Route(path, endpoint) for path, endpoint in webhooks.items()]
    return [Route(each.path, traces.watch(webhooks[each.path], each.name, each.path)) for each in sources]


async def _send_whole(scope: Scope, send: Send, answer: Answer) -> None:
    """Send an answer: in one piece, where the server can take that now."""
    headers = secure(scope["path"], list_headers(answer))
    cycle = getattr(send, "__self__", None)
    if isinstance(cycle, RequestResponseCycle) and _is_ready(cycle):
        _write(cycle, answer, headers)
    else:
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


def _is_ready(cycle: RequestResponseCycle) -> bool:
    """Tell whether an answer can be written at once: the client is there and reads, nothing was sent, and HEAD has no body."""
    return not (cycle.disconnected or cycle.response_started or cycle.flow.write_paused or cycle.scope["method"] == "HEAD")


def _write(cycle: RequestResponseCycle, answer: Answer, headers: list[tuple[bytes, bytes]]) -> None:
    """Write a whole answer and end the cycle, as its `send` does with two messages."""
    if (b"connection", b"close") in answer.headers:
        cycle.keep_alive = False
    elif not cycle.keep_alive:
        headers.append((b"connection", b"close"))
    lines = [STATUS_LINE[answer.status]]
    for name, value in (*cycle.default_headers, *headers):
        lines += (name, b": ", value, b"\r\n")
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join((*lines, b"\r\n", answer.body)))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
