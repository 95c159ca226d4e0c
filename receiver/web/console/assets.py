"""Style, script and icon: files of this package, under URLs that change with their content."""

from hashlib import sha256
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from receiver.errors import NotFound

_TYPES = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
_HEADERS = {
    "cache-control": "public, max-age=31536000, immutable",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Assets:
    """The static files, read once."""

    def __init__(self) -> None:
        folder = files("receiver.web.console") / "static"
        self._contents = {name: (folder / name).read_bytes() for name in _TYPES}

    def url(self, name: str) -> str:
        """Return the URL of a file with the digest of its content."""
        return f"/ops/static/{sha256(self._contents[name]).hexdigest()[:12]}/{name}"

    async def serve(self, request: Request) -> Response:
        """Return one file. None is secret, so they need no sign-in and browsers may cache them."""
        name = request.path_params["name"]
        if name not in self._contents:
            raise NotFound("Unknown path.")
        return Response(self._contents[name], 200, _HEADERS, media_type=_TYPES[name])
