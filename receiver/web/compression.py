"""Compression of the answers under `/ops`, except for requests that another site has caused.

BREACH (breachattack.com) reads secrets of a compressed answer by its size: another site makes the browser send requests with
guesses that the answer repeats beside the secret. The session cookie is `SameSite=Strict`, so such requests have no session.
Another address of the same site could still cause it; browsers tell so over https (Sec-Fetch-Site), and those answers are not
compressed.
"""

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.web.responses import is_ops

_MIN_BYTES = 1024
_LEVEL = 6  # 9 takes three times as long for 1 % less
_OWN_SITES = {b"same-origin", b"none"}  # none: typed or from a bookmark


class OpsCompression:
    """Middleware that compresses what pages of the console and clients of the API ask for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressed = GZipMiddleware(app, _MIN_BYTES, _LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and compress its answer where that is safe."""
        is_safe = scope["type"] == "http" and is_ops(scope["path"]) and is_own(scope)
        await (self._compressed if is_safe else self._app)(scope, receive, send)


def is_own(scope: Scope) -> bool:
    """Tell whether no other site has caused a request, as far as the browser tells."""
    return all(value in _OWN_SITES for name, value in scope["headers"] if name == b"sec-fetch-site")
