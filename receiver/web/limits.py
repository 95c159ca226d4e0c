"""The size limit of request bodies on every path. A path without its own limit gets the default."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.errors import BodyTooLarge

MAX_BODY_BYTES = 16 * 1024
"""The default limit, in bytes."""


class BodyLimits:
    """Middleware that limits the size of bodies. `limits` are in bytes, by path."""

    def __init__(self, app: ASGIApp, limits: Mapping[str, int]) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; reading a larger body raises BodyTooLarge."""
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
    return BodyTooLarge(f"Expected a body of at most {limit:,} bytes.")
