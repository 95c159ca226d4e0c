"""The size of request bodies, bounded on every path: a new route gets the default without asking for it."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.errors import BodyTooLarge

MAX_BODY_BYTES = 16 * 1024
"""The limit of a path that has no limit of its own."""


class BodyLimits:
    """Refuses to give the application more of a body than its path takes. `limits` are those of some paths, in bytes."""

    def __init__(self, app: ASGIApp, limits: Mapping[str, int]) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. What reads its body raises BodyTooLarge."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limits.get(scope["path"], MAX_BODY_BYTES)
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        size = 0

        async def receive_bounded() -> Message:
            nonlocal size
            if int(declared) > limit:
                raise _too_large(limit)
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise _too_large(limit)
            return message

        await self._app(scope, receive_bounded, send)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"Expected a body of at most {limit} bytes.")
