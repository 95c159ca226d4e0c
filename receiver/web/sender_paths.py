"""The paths of senders, led straight to their endpoints: nearly all requests of a busy service go there.

The router and the middleware for other paths took a fifth of the time of a delivery. An endpoint limits its body itself
(`web/body.py`), and its answers are never compressed.
"""

import asyncio
from collections.abc import Mapping, Sequence

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

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
            await _send(scope, send, answer or answers.for_error(make_fault(), None))


def make_webhook_routes(webhooks: Mapping[str, WebhookEndpoint], sources: Sequence[Source], traces: Traces | None) -> list[Route]:
    """Return the routes of the webhooks, for requests that go through the router; with `traces` each of them is watched."""
    if traces is None:
        return [Route(path, endpoint) for path, endpoint in webhooks.items()]
    return [Route(each.path, traces.watch(webhooks[each.path], each.name, each.path)) for each in sources]


async def _send(scope: Scope, send: Send, answer: Answer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": secure(scope["path"], list_headers(answer))})
    await send({"type": "http.response.body", "body": answer.body})
