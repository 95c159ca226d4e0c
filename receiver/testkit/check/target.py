"""The target of the checks: its URL, as entered in Ship24's dashboard, and requests to it."""

import html
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import NamedTuple
from urllib.parse import quote

from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

from receiver.access.bearer import Secret
from receiver.testkit.check.records import CheckRequest
from receiver.testkit.marking import Marker
from receiver.testkit.ops_client import find_root

MIN_DISTINCT_CHARACTERS = 8
"""A shorter token may be in a response by chance."""

USER_AGENT = "receiver-check"
_PIECE_BYTES = 1000


class CheckTarget(NamedTuple):
    """The URL of a receiver. `path` and `query` are encoded. The query is never shown: it may contain a secret."""

    is_secure: bool
    host: str
    port: int
    path: str
    query: str | None

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"

    @property
    def origin(self) -> str:
        """The scheme, the host and the port, where that is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme, usual_port = ("https", 443) if self.is_secure else ("http", 80)
        return f"{scheme}://{host}" if self.port == usual_port else f"{scheme}://{host}:{self.port}"

    def other_spelling(self) -> str:
        """Return the path with a trailing slash added or removed."""
        return self.path.rstrip("/") or "/" if self.path.endswith("/") else f"{self.path}/"

    def service(self) -> "CheckTarget":
        """Return the address of the service: what comes before the path of its webhook, else the root of the host."""
        return self._replace(path=find_root(str(self)).removeprefix(self.origin), query=None)


def read_target(url: str) -> CheckTarget:
    """Read a URL. Raises ValueError, whose text never contains the URL: it may contain a secret."""
    try:
        url.encode()  # bytes of the command line that are not UTF-8 are surrogates: no request can have them
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


class PreparedRequest(NamedTuple):
    """A request as the client takes it. A body in pieces goes out in chunks."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | AsyncIterator[bytes] | None


def prepare(
    target: CheckTarget,
    request: CheckRequest,
    token: Secret,
    wrong: Secret,
    marker: Marker | None = None,
    *,
    keep_alive: bool = False,
) -> PreparedRequest:
    """Return a request to a target, with the right token, the wrong one or none, and with the mark of a test."""
    authorization = _authorization(request, token, wrong)
    headers = {
        "User-Agent": USER_AGENT,
        "Accept": "application/json, */*",
        "Connection": "keep-alive" if keep_alive else "close",
        **authorization,
        **({} if marker is None else marker.headers([*authorization.values()], request.body)),
    }
    url = f"{target.origin}{_requested(target, request, token)}"
    if request.method != "POST":
        return PreparedRequest(request.method, url, headers, None)
    body = _pieces(request.body) if request.chunked else request.body
    return PreparedRequest("POST", url, {**headers, "Content-Type": request.content_type}, body)


def spellings(secret: Secret) -> tuple[bytes, ...]:
    """Return the forms in which a response may repeat a secret: plain, or escaped for a URL, JSON (PHP also escapes the slash) or
    HTML; of a short secret the plain form only, as others would be found by chance.
    """
    plain = secret.reveal()
    if len(plain) < MIN_DISTINCT_CHARACTERS:
        return (plain.encode(),)
    forms = []
    for text in (plain, plain.encode().decode("latin-1")):  # most servers read headers as Latin-1
        escaped = json.dumps(text)[1:-1]
        unicode = json.dumps(text, ensure_ascii=False)[1:-1]
        forms += [text, quote(text, safe=""), escaped, escaped.replace("/", r"\/"), unicode, html.escape(text)]
    return (*(form.encode() for form in forms), b64encode(plain.encode()).rstrip(b"="))


def _requested(target: CheckTarget, request: CheckRequest, token: Secret) -> str:
    path = target.other_spelling() if request.other_spelling else target.path
    queries = [] if target.query is None else [target.query]
    if request.bearer == "in the query":
        value = quote(token.reveal(), safe="")
        queries += [f"{name}={value}" for name in ("token", "secret", "access_token")]
    return f"{path}?{'&'.join(queries)}" if queries else path


def _authorization(request: CheckRequest, token: Secret, wrong: Secret) -> dict[str, str]:
    value = {
        "right": f"Bearer {token.reveal()}",
        "wrong": f"Bearer {wrong.reveal()}",
        "other scheme": f"Token {token.reveal()}",
        "lower case": f"bearer {token.reveal()}",
    }.get(request.bearer)
    return {} if value is None else {"Authorization": value}


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _PIECE_BYTES):
        yield body[start : start + _PIECE_BYTES]
