"""A trailing slash is accepted everywhere, without a redirect: senders take a redirect for a failure."""

from starlette.types import ASGIApp, Receive, Scope, Send


class TrailingSlash:
    """Takes slashes off the end of a path before it is routed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on with the path as the routes spell it."""
        if scope["type"] == "http" and scope["path"].endswith("/"):
            scope["path"] = scope["path"].rstrip("/") or "/"
        await self._app(scope, receive, send)
