"""Signing in and out, the session of each request, and the checks of every posted form.

The response to a wrong token gives no reason. The response to a rejected form does: the cause may be its age, the browser's
cookies or a proxy.

Sources: Fetch Metadata (w3.org/TR/fetch-metadata), Origin (RFC 6454).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from secrets import token_urlsafe
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from receiver import clock
from receiver.access.addresses import Network, is_listed, read_address
from receiver.access.operators import Operator, OperatorAuth
from receiver.access.sessions import SESSION_SECONDS, Session, Sessions, is_same_token
from receiver.clock import to_micros
from receiver.domain.rows import SessionRow
from receiver.domain.storable import make_storable
from receiver.domain.trimming import trim
from receiver.errors import FormRefused, ReceiverError, StorageUnavailable, TooManyAttempts, Unauthorized
from receiver.storage.database import Database
from receiver.storage.reader import Reader
from receiver.storage.sessions import is_session
from receiver.web.console import links
from receiver.web.console.forms import Form, read_form
from receiver.web.console.rendering import Renderer, redirect, set_cookie
from receiver.web.console.saved_views import VIEWS_COOKIE, SavedView, read_views
from receiver.web.console.time_zones import ZONE_COOKIE, TimeZone, read_zone_cookie
from receiver.writer.client import WriterClient
from receiver.writer.commands.operators import Audited, BeginSession, EndSession

_SESSION_COOKIE = "receiver_session"
_FORM_COOKIE = "receiver_form"  # ties a sign-in form to the browser that loaded it
_FORM_SECONDS = 3600
_FAILED = "Sign-in failed. Check the token."
_NO_COOKIE = (
    "This form is more than an hour old, or your browser keeps no cookie of it. Try again. If that fails, allow cookies here."
)
_UNSENT = "You are signed out, so your form changed nothing. Sign in to get back to it."
_NO_DATABASE = "The database does not respond, so nobody can sign in. Try again in a moment."
_NO_SESSION = "The database cannot store a session, so nobody can sign in."
_EXPIRED = "The form expired. Nothing was changed. Please try again."
_DEFAULT_PORTS = {"http": 80, "https": 443}
_OTHER_SITES = {
    "cross-site": "another site",
    "same-site": "another address of the same site",
    "none": "outside the console",
}


class ConsoleRequest(NamedTuple):
    """One request of a signed-in operator. `url` is the path and query as sent; `query` leaves out empty values.

    `host` is the name that the browser used, with its port.
    """

    operator: Operator
    session: Session
    now: datetime
    path: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    url: str
    is_https: bool
    host: str
    zone: TimeZone
    views: tuple[SavedView, ...] = ()

    @property
    def base_url(self) -> str:
        """Return the address of this service as the browser sees it, without a path."""
        return f"{'https' if self.is_https else 'http'}://{self.host}"


class SessionGuard:
    """Finds the session of a request and refuses forms that do not come from a page of the console."""

    def __init__(
        self, sessions: Sessions, database: Database, operators: OperatorAuth, trusted_proxies: tuple[Network, ...]
    ) -> None:
        self._sessions = sessions
        self._database = database
        self._operators = operators
        self._trusted_proxies = trusted_proxies

    def has_cookie(self, request: Request) -> bool:
        """Return whether the request has a session cookie that this service signed. Does not ask the database."""
        return self._sessions.read(request.cookies.get(_SESSION_COOKIE)) is not None

    def admit(self, request: Request, now: datetime) -> ConsoleRequest | None:
        """Return the request with its session, or None. Reads the database: call it in a thread. Raises StorageUnavailable."""
        session = self._sessions.read(request.cookies.get(_SESSION_COOKIE))
        if session is None or not is_session(self._database, session.digest, to_micros(now)):
            return None
        operator = self._operators.describe(session.actor, request)
        path = {name: make_storable(trim(str(value))) for name, value in request.path_params.items()}
        query = tuple((name, value) for name, value in request.query_params.multi_items() if trim(value))
        host = next(iter(self._names(request)), "localhost")
        zone = read_zone_cookie(request.cookies.get(ZONE_COOKIE))
        views = read_views(request.cookies.get(VIEWS_COOKIE))
        return ConsoleRequest(operator, session, now, path, query, url_of(request), self.is_https(request), host, zone, views)

    def check_form(self, request: Request, form: Mapping[str, str], expected: str, expired: str = _EXPIRED) -> None:
        """Raise FormRefused, with the cause, unless the form carries the `expected` token and a page of the console sent it.

        `expired` is the message for another token.
        """
        headers = request.headers
        fault = find_fault(headers.getlist("sec-fetch-site"), headers.getlist("origin"), self._names(request))
        if fault is not None:
            raise FormRefused(f"{fault} Nothing was changed. Open the page again in the console and try again.")
        if not is_same_token(form.get("form_token"), expected):
            raise FormRefused(expired)

    def is_https(self, request: Request) -> bool:
        """Return whether the browser used https. A trusted proxy may say so with `X-Forwarded-Proto`."""
        if request.scope["scheme"] == "https":
            return True
        forwarded = ",".join(request.headers.getlist("x-forwarded-proto")).lower().split(",")
        return "https" in {word.strip() for word in forwarded} and self._is_proxied(request)

    def _names(self, request: Request) -> list[str]:
        """Return the names of this service in a request, first the one that the browser used.

        Trusted proxies name it, and may add those by which they asked each other.
        """
        forwarded = ",".join(request.headers.getlist("x-forwarded-host") if self._is_proxied(request) else []).split(",")
        return [*(name for each in forwarded if (name := each.strip())), *request.headers.getlist("host")]

    def _is_proxied(self, request: Request) -> bool:
        try:
            return request.client is not None and is_listed(read_address(request.client.host), self._trusted_proxies)
        except ValueError:
            return False


class Login:
    """The endpoints for signing in and out."""

    def __init__(
        self,
        sessions: Sessions,
        guard: SessionGuard,
        operators: OperatorAuth,
        renderer: Renderer,
        writer_client: WriterClient,
        reader: Reader,
    ) -> None:
        self._sessions = sessions
        self._guard = guard
        self._operators = operators
        self._renderer = renderer
        self._writer_client = writer_client
        self._reader = reader

    async def show(self, request: Request) -> Response:
        """Show the sign-in form, or redirect an operator who is signed in."""
        wanted = links.read_next(request.query_params.get("next"))
        try:
            page_request = await self._reader.read(self._guard.admit, request, clock.now())
        except StorageUnavailable:
            return self._show_form(request, wanted, _NO_DATABASE, 503)
        problem = _UNSENT if request.query_params.get("unsent") else None
        return self._show_form(request, wanted, problem) if page_request is None else redirect(wanted)

    async def sign_in(self, request: Request) -> Response:
        """Check the token and begin a session."""
        form = await read_form(request)
        wanted = links.read_next(form.get("next"))
        try:
            self._check_form(request, form)
            operator = self._operators.identify_token(request, form.get("token", ""))
            session, cookie = self._sessions.begin(operator.name)
            await self._begin(operator, session)
        except ReceiverError as error:
            return self._refuse(request, wanted, error)
        response = redirect(wanted)
        set_cookie(response, _SESSION_COOKIE, cookie, SESSION_SECONDS, is_https=self._guard.is_https(request))
        return response  # it leaves the cookie of the form, which another tab may need

    async def sign_out(self, page_request: ConsoleRequest, _form: Form) -> Response:
        """End the session on every receiver. Copies of its cookie are invalid from then on."""
        entry = page_request.operator.entry(page_request.now, "console sign-out", "console", None)
        try:
            await self._writer_client.do(Audited(entry, EndSession(page_request.session.digest)))
        except StorageUnavailable as error:
            raise StorageUnavailable(f"You are still signed in. {error.message}") from None
        response = redirect(links.SIGN_IN)
        set_cookie(response, _SESSION_COOKIE, "", 0, is_https=page_request.is_https)
        return response

    def _check_form(self, request: Request, form: Form) -> None:
        value = request.cookies.get(_FORM_COOKIE)
        if value:
            self._guard.check_form(request, form, self._sessions.make_sign_in_token(value))
        else:
            self._guard.check_form(request, form, token_urlsafe(), _NO_COOKIE)

    async def _begin(self, operator: Operator, session: Session) -> None:
        now = clock.now()
        began_at = to_micros(now)
        row = SessionRow(session.digest, session.actor, began_at, began_at + SESSION_SECONDS * 1_000_000)
        entry = operator.entry(now, "console sign-in", "console", None)
        await self._writer_client.do(Audited(entry, BeginSession(row)))

    def _refuse(self, request: Request, wanted: str, error: ReceiverError) -> Response:
        """Show the form again with the cause."""
        if isinstance(error, Unauthorized):
            return self._show_form(request, wanted, _FAILED, 403)
        if isinstance(error, TooManyAttempts):
            response = self._show_form(request, wanted, f"{_FAILED} {error.message}", error.status)
            response.headers["retry-after"] = str(error.retry_after_seconds)
            return response
        problem = error.message if isinstance(error, FormRefused) else f"{_NO_SESSION} {error.message}"  # the token was right
        return self._show_form(request, wanted, problem, error.status)

    def _show_form(self, request: Request, wanted: str, problem: str | None = None, status: int = 200) -> Response:
        value = request.cookies.get(_FORM_COOKIE) or token_urlsafe(18)
        values: dict[str, Any] = {"form_token": self._sessions.make_sign_in_token(value), "wanted": wanted, "problem": problem}
        response = self._renderer.render("sign_in.html", clock.now(), status, is_wrong=status != 200, **values)
        set_cookie(response, _FORM_COOKIE, value, _FORM_SECONDS, is_https=self._guard.is_https(request))
        return response


def url_of(request: Request) -> str:
    """Return path and query as they were sent."""
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    query = request.scope["query_string"]
    return str((raw + b"?" + query if query else raw).decode("latin-1"))


def find_fault(sites: Sequence[str], origins: Sequence[str], hosts: Iterable[str]) -> str | None:
    """Return why a form is rejected, as a sentence, or None if it came from a page of the console.

    `sites` and `origins` are the values of the headers Sec-Fetch-Site and Origin, `hosts` the names of this service in the
    request. Browsers send Sec-Fetch-Site to https and to this machine. Then it alone decides, as a proxy may have changed `Host`.
    Otherwise the origin must be one of `hosts`. Pages without a referrer, such as ours, may send `Origin: null`; then the form's
    token decides alone.
    """
    if sites:
        elsewhere = next((site for site in sites if site != "same-origin"), None)
        return None if elsewhere is None else f"This form was sent from {_OTHER_SITES.get(elsewhere, 'elsewhere')}."
    known = [parts for host in hosts if (parts := _split(f"//{host.strip()}"))]
    for origin in origins:
        if origin != "null" and not _is_one_of(_split(origin), known):
            names = " or ".join(parts.netloc[:200] for parts in known[:3]) or "no host"
            return (
                f"The browser sent this form to {origin[:200]}, but the request arrived for {names}. "
                "If a proxy is in front, let it pass on the Host header unchanged (nginx: proxy_set_header Host $http_host)."
            )
    return None


def _is_one_of(origin: SplitResult | None, known: Sequence[SplitResult]) -> bool:
    if origin is None or origin.scheme not in _DEFAULT_PORTS:
        return False
    default = _DEFAULT_PORTS[origin.scheme]
    return any((parts.hostname, parts.port or default) == (origin.hostname, origin.port or default) for parts in known)


def _split(text: str) -> SplitResult | None:
    """Return the parts of an address, or None if it has no host or an invalid port."""
    try:
        parts = urlsplit(text)
        usable = parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None
