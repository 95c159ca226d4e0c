"""Templates to answers: everything escaped, everything visible, and the headers that every page carries."""

import re
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import RedirectResponse, Response

from receiver.web.console import formatting
from receiver.web.console.assets import Assets

_POLICY = "; ".join((
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
))  # fmt: skip
SECURITY_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_QUOTED = re.compile("(?<=\u201c)([^\u201d]*)(?=\u201d)")
_STRUCK_OUT = "[secret]"
_SHORTEST_SECRET = 8  # a shorter one stands in too many other words


class Renderer:
    """Renders templates. `secrets` are struck out of everything that is printed, wherever a caller put them."""

    def __init__(self, secrets: Sequence[str], assets: Assets) -> None:
        self._secrets = tuple(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)
        self._environment = Environment(
            loader=PackageLoader("receiver.web.console"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=self._finalize,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "short": formatting.shorten,
            "number": formatting.write_number,
            "size": formatting.write_size,
            "span": formatting.write_span,
            "words": formatting.write_words,
            "source": formatting.write_source,
            "isolated": self._isolate,
        }
        self._environment.globals["asset"] = assets.url

    def print(self, template: str, now: datetime, status: int = 200, **values: Any) -> Response:
        """Return a page."""
        stamp = partial(formatting.write_moment, now=now)
        body = self._environment.get_template(template).render(values, stamp=stamp, now=now)
        return Response(body, status, SECURITY_HEADERS, media_type="text/html")

    def _finalize(self, value: Any) -> Any:
        """Make what a template prints visible, before it is escaped; macros are printed already."""
        if isinstance(value, Markup) or not isinstance(value, str):
            return "" if value is None else value
        for secret in self._secrets:
            value = value.replace(secret, _STRUCK_OUT)
        return formatting.visible(value)

    def _isolate(self, sentence: str) -> Markup:
        """Keep what is quoted in a sentence from turning the direction of the rest."""
        pieces = [escape(self._finalize(piece)) for piece in _QUOTED.split(sentence)]
        return Markup("").join(Markup("<bdi>{}</bdi>").format(piece) for piece in pieces)


def attach(content: bytes, name: str) -> Response:
    """Return exact bytes to be saved as a file, never shown."""
    headers = SECURITY_HEADERS | {"content-disposition": f'attachment; filename="{name}"'}
    headers["content-security-policy"] = "default-src 'none'; frame-ancestors 'none'; sandbox"
    return Response(content, 200, headers, media_type="application/octet-stream")


def redirect(url: str) -> Response:
    """Send the browser to a page of ours, with GET."""
    return RedirectResponse(url, 303, SECURITY_HEADERS)
