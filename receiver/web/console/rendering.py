"""Responses from templates: every value escaped and made visible or sent back exactly, every page with its security headers."""

import re
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape
from starlette.responses import RedirectResponse, Response

from receiver.domain.labels import count, label, label_verdict
from receiver.domain.storable import make_storable
from receiver.domain.time_texts import localise_times
from receiver.web.console import formatting
from receiver.web.console.assets import Assets
from receiver.web.console.time_zones import UTC_ZONE, TimeZone

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
_QUOTED = re.compile("(?<=\u201c)([^\u201d]*)(?=\u201d)|`([^`]*)`")
_ISOLATED = Markup("<bdi>{}</bdi>")
_CODE = Markup("<code><bdi>{}</bdi></code>")
_CHANGING_FORM = re.compile(
    r'(<form(?![^>]*action="/ops/(?:sign-out|time-zone|views)")[^>]*method="post"[^>]*>)(.*?)(</form>)', re.DOTALL
)
_ONLY_LOOKS = '<fieldset class="only-looks" disabled><legend>Your token may only look.</legend>'
_REDACTED = "[secret]"
_MIN_SECRET_CHARACTERS = 8  # a shorter secret is part of too many other words


class Renderer:
    """Renders templates. Each of the `secrets` is redacted in every value, wherever a sender put it."""

    def __init__(self, secrets: Sequence[str], assets: Assets) -> None:
        self._secrets = tuple(secret for secret in secrets if len(secret) >= _MIN_SECRET_CHARACTERS)
        self._environment = Environment(
            loader=PackageLoader("receiver.web.console"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=self._finalize,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,  # templates of another version, installed while this one runs, may want other values
        )
        self._environment.filters |= {
            "short": formatting.shorten,
            "number": formatting.write_number,
            "size": formatting.write_size,
            "duration": formatting.write_duration,
            "words": formatting.write_words,
            "label": label,
            "field": self._write_field,
            "sentence": self._mark_up_in_zone,
        }
        self._environment.globals |= {"asset": assets.url, "label_verdict": label_verdict, "count": count}

    def render(self, template: str, now: datetime, status: int = 200, zone: TimeZone = UTC_ZONE, **values: Any) -> Response:
        """Return a page with times in a zone."""
        stamp = partial(formatting.write_moment, now=now, zone=zone.info)
        body = self._environment.get_template(template).render(values, stamp=stamp, now=now, zone=zone)
        return Response(body, status, SECURITY_HEADERS, media_type="text/html")

    def _finalize(self, value: Any) -> Any:
        """Redact a value of a template and make it visible, before it is escaped. Markup comes from a macro, which did so."""
        if isinstance(value, Markup) or not isinstance(value, str):
            return "" if value is None else value
        return formatting.visible(self._redact(value))

    def _write_field(self, value: str | int | None) -> Markup:
        """Return a value for a form field, which sends it back: what is made visible would come back as another text."""
        text = "" if value is None else str(value)
        return escape(self._redact(make_storable(text, len(text))))

    def _redact(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _REDACTED)
        return text

    @pass_context
    def _mark_up_in_zone(self, context: Context, sentence: str) -> Markup:
        return self.mark_up(sentence, context["zone"])

    def mark_up(self, sentence: str, zone: TimeZone = UTC_ZONE) -> Markup:
        """Return a sentence with `code` as code and our times in a zone.

        Text in “quotes” cannot change the direction of the rest.
        """
        write = partial(formatting.write_zoned, zone=zone.info)
        parts = _QUOTED.split(self._finalize(localise_times(sentence, write)))  # text, quoted or None, code or None, text …
        kinds = (_ISOLATED, _ISOLATED, _CODE)
        return Markup("").join(kinds[number % 3].format(part) for number, part in enumerate(parts) if part)


def disable_forms(response: Response) -> Response:
    """Return a page whose forms cannot be sent, except searches and those for the session, the time zone and saved views."""
    text = _CHANGING_FORM.sub(rf"\1{_ONLY_LOOKS}\2</fieldset>\3", bytes(response.body).decode())
    return Response(text, response.status_code, SECURITY_HEADERS, media_type="text/html")


def leave_out_unchanged(response: Response, known: str | None) -> Response:
    """Return a page with its ETag, or 304 without a body if the client has this version. `known` is its If-None-Match.

    The ETag is weak, as the page may be compressed. Browsers do not store pages; the script of the live ones sends it.
    """
    if response.status_code != 200 or response.media_type != "text/html":
        return response
    response.headers["etag"] = etag = f'W/"{sha256(bytes(response.body)).hexdigest()[:32]}"'
    return Response(status_code=304, headers={**SECURITY_HEADERS, "etag": etag}) if known == etag else response


def attach(content: bytes, name: str) -> Response:
    """Return exact bytes as a download, which a browser never shows."""
    headers = SECURITY_HEADERS | {"content-disposition": f'attachment; filename="{name}"'}
    headers["content-security-policy"] = "default-src 'none'; frame-ancestors 'none'; sandbox"
    return Response(content, 200, headers, media_type="application/octet-stream")


def redirect(url: str) -> Response:
    """Redirect to a page of the console, with GET."""
    return RedirectResponse(url, 303, SECURITY_HEADERS)


def set_cookie(response: Response, name: str, value: str, seconds: int, *, is_https: bool) -> None:
    """Set a cookie of the console, which no script reads and no other site sends."""
    response.set_cookie(name, value, max_age=seconds, path="/ops", secure=is_https, httponly=True, samesite="strict")
