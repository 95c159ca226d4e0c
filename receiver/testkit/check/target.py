"""Whom to ask: the URL as it is typed into Ship24's dashboard, and requests to it as bytes."""

import html
import json
from base64 import b64encode
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

from receiver.access.bearer import Secret
from receiver.testkit.check.records import CheckRequest

WEBHOOK_PATH = "/webhooks/ship24"
MIN_TELLING_LETTERS = 8
"""A token that is shorter stands in answers by chance."""

_PIECE_BYTES = 1000


class CheckTarget(NamedTuple):
    """A receiver's address. `path` and `query` are as they are sent; the query is nothing to show: it may hold a secret."""

    is_secure: bool
    host: str
    port: int
    path: str
    query: str | None

    def __str__(self) -> str:
        return f"{'https' if self.is_secure else 'http'}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """The host as it stands in a URL, with its port where that is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_secure else 80) else f"{host}:{self.port}"

    def other_spelling(self) -> str:
        """Return the path with the trailing slash that it lacks, or without the one that it has."""
        return self.path.rstrip("/") or "/" if self.path.endswith("/") else f"{self.path}/"

    def service(self) -> "CheckTarget":
        """Return where our service begins: before the path of its webhook, if this is that, else at the root."""
        path = self.path.rstrip("/")
        return self._replace(path=path.removesuffix(WEBHOOK_PATH) if path.endswith(WEBHOOK_PATH) else "", query=None)


def read_target(url: str) -> CheckTarget:
    """Read a URL. Raises ValueError, which never quotes it: it may hold a secret."""
    try:
        parts = parse_url(url)
    except (HTTPError, UnicodeError, ValueError):
        raise ValueError("expected a URL such as https://your.host/webhooks/ship24") from None
    if parts.scheme not in {"http", "https"} or not parts.host:
        raise ValueError("expected a URL that begins with http:// or https:// and names a host")
    if parts.auth is not None:
        raise ValueError("expected a URL without a user and a password: Ship24 sends neither")
    is_secure = parts.scheme == "https"
    port = (443 if is_secure else 80) if parts.port is None else parts.port
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return CheckTarget(is_secure, parts.host.strip("[]"), port, path, parts.query)


def write_request(
    target: CheckTarget, call: CheckRequest, token: Secret, wrong: Secret, *, keep_alive: bool = False
) -> tuple[bytes, bytes]:
    """Return the head and the body of a request, as they go over the wire."""
    lines = [
        f"{call.method} {_requested(target, call, token)} HTTP/1.1",
        f"Host: {target.authority}",
        "User-Agent: receiver-check",
        "Accept: application/json, */*",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *_authorization(call, token, wrong),
    ]
    body = b""
    if call.method == "POST":
        body = b"".join(_chunks(call.body)) if call.chunked else call.body
        framing = "Transfer-Encoding: chunked" if call.chunked else f"Content-Length: {len(body)}"
        lines += [f"Content-Type: {call.content_type}", framing]
    return "\r\n".join([*lines, "", ""]).encode(), body


def spellings(secret: Secret) -> tuple[bytes, ...]:
    """Return the forms in which an answer may repeat a secret: as it is, or as it stands in a URL, in JSON (PHP also escapes the
    slash) or in HTML; of a short one only itself, others would be found by chance.
    """
    plain = secret.reveal()
    if len(plain) < MIN_TELLING_LETTERS:
        return (plain.encode(),)
    forms = []
    for text in (plain, plain.encode().decode("latin-1")):  # most servers read headers as Latin-1
        escaped = json.dumps(text)[1:-1]
        unicode = json.dumps(text, ensure_ascii=False)[1:-1]
        forms += [text, quote(text, safe=""), escaped, escaped.replace("/", r"\/"), unicode, html.escape(text)]
    return (*(form.encode() for form in forms), b64encode(plain.encode()).rstrip(b"="))


def _requested(target: CheckTarget, call: CheckRequest, token: Secret) -> str:
    path = target.other_spelling() if call.other_spelling else target.path
    queries = [] if target.query is None else [target.query]
    if call.bearer == "in the query":
        value = quote(token.reveal(), safe="")
        queries += [f"{name}={value}" for name in ("token", "secret", "access_token")]
    return f"{path}?{'&'.join(queries)}" if queries else path


def _authorization(call: CheckRequest, token: Secret, wrong: Secret) -> list[str]:
    value = {
        "right": f"Bearer {token.reveal()}",
        "wrong": f"Bearer {wrong.reveal()}",
        "other scheme": f"Token {token.reveal()}",
        "lower case": f"bearer {token.reveal()}",
    }.get(call.bearer)
    return [] if value is None else [f"Authorization: {value}"]


def _chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), _PIECE_BYTES):
        piece = body[start : start + _PIECE_BYTES]
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
