"""Paths: ids of senders in them, which contain anything, and trailing slashes.

These are accepted everywhere without a redirect: senders treat a redirect as a failure.
"""

from starlette.convertors import Convertor, register_url_convertor
from starlette.types import ASGIApp, Receive, Scope, Send


class SenderIdConvertor(Convertor[str]):
    """The rest of a path, as `{name:sender_id}` of a route. Starlette's `path` ends at a line feed."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        """Return the id as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Return the id as it is."""
        return value


register_url_convertor("sender_id", SenderIdConvertor())


class TrailingSlash:
    """Middleware that removes trailing slashes from a path before it is routed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its path in the spelling of the routes."""
        if scope["type"] == "http" and scope["path"].endswith("/"):
            raw = scope.get("raw_path") or scope["path"].encode()
            slashes = len(raw) - len(raw.rstrip(b"/"))  # a slash that was sent as %2F belongs to a name
            scope["path"] = scope["path"][: len(scope["path"]) - slashes] or "/"
        await self._app(scope, receive, send)
