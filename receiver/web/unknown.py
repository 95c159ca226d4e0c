"""The answer to unknown paths, which names the known ones. Requests with a valid token are recorded as refused."""

import re
from collections.abc import Iterable, Sequence

from starlette.types import Receive, Scope, Send

from receiver.access.bearer import Admission
from receiver.access.guard import Client, RequestGuard
from receiver.errors import NotFound
from receiver.web.responses import is_ops, send_answer
from receiver.web.unknown_paths import UnknownPaths
from receiver.writer.client import WriterClient
from receiver.writer.counters import Counters

_NO_SOURCE = "Unknown path. There are no webhook URLs: no source has a token."
_LONG_PART = re.compile(r"[^/]{20,}")  # longer than every part of ours: it could be a token
_WORD = re.compile(r"[^\W_]+")


class UnknownPath:
    """The endpoint of every path without a route. `request_guards` are those of the senders' paths."""

    def __init__(
        self, request_guards: Sequence[RequestGuard], writer_client: WriterClient, unknown_paths: UnknownPaths, counters: Counters
    ) -> None:
        self._request_guards = request_guards
        self._writer_client = writer_client
        self._unknown_paths = unknown_paths
        self._counters = counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 404. Raises NotFound without a valid token: such a request is not recorded."""
        if is_ops(scope["path"]):
            raise NotFound("Unknown path. The API is described at /ops/api/openapi.json.")
        if scope["method"] == "POST":
            self._note(scope["path"])
        client = self._request_guards[0].identify(scope)
        recognised = {
            request_guard.path: (request_guard, token)
            for request_guard in self._request_guards
            if (token := request_guard.recognise(client)) is not None
        }
        if not recognised:
            raise NotFound(self._describe())
        nearest = find_nearest(scope["path"], recognised)
        await self._refuse(scope, send, client, *recognised[nearest[0]], nearest)

    async def _refuse(
        self, scope: Scope, send: Send, client: Client, request_guard: RequestGuard, token: str, nearest: Sequence[str]
    ) -> None:
        """Record the request. The note names its token; the column `token` stays empty, so that this does not count as a use."""
        admission = Admission(None, f"unknown path, right token ({token})")
        delivery = request_guard.make_delivery(scope, client, admission, b"")._replace(
            path=request_guard.show_path(scope["path"])
        )
        error = NotFound(f"Unknown path. Did you mean {' or '.join(nearest)}?")
        await send_answer(send, await self._writer_client.record_refused(delivery, error))

    def _note(self, path: str) -> None:
        """Count a POST: a wrong webhook URL gets 404 here, and nobody else sees it."""
        self._counters.unknown_paths += 1
        known = [request_guard.path for request_guard in self._request_guards if request_guard.is_webhook]
        nearest = find_nearest(path, known) if any(_split(path) & _split(other) for other in known) else []
        shown = _LONG_PART.sub("…", self._request_guards[0].show_path(path))
        self._unknown_paths.note(shown, nearest[0] if nearest else "")

    def _describe(self) -> str:
        paths = [request_guard.path for request_guard in self._request_guards if request_guard.is_webhook]
        return f"Unknown path. Webhook URLs: {', '.join(paths)}" if paths else _NO_SOURCE


def find_nearest(path: str, known: Iterable[str]) -> list[str]:
    """Return the known paths that share the most words with a path. Case, plural and order do not count."""
    words = _split(path)
    similarity = {other: len(words & _split(other)) / len(words | _split(other)) for other in known}
    return [other for other, share in similarity.items() if share == max(similarity.values())]


def _split(path: str) -> set[str]:
    return {word.lower().rstrip("s") for word in _WORD.findall(path)}
