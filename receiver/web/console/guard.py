"""Who may see a page, and whose forms count."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from starlette.requests import Request

from receiver.access.addresses import Network, is_listed, read_address
from receiver.access.operators import Operator, OperatorAuth
from receiver.access.sessions import Session, Sessions, is_same_token
from receiver.clock import to_micros
from receiver.domain.storable import make_storable
from receiver.domain.trimming import trim
from receiver.errors import FormRefused
from receiver.storage.database import Database
from receiver.storage.sessions import is_session
from receiver.web.console.origin import find_fault

COOKIE = "receiver_session"
_EXPIRED = "The form expired. Nothing was changed. Please try again."


class Visit(NamedTuple):
    """One request of somebody who is signed in. `url` is what was asked for, as it stands in the address bar."""

    operator: Operator
    session: Session
    now: datetime
    path: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    url: str


class SessionGuard:
    """Recognises sessions and refuses forms that are not ours."""

    def __init__(
        self, sessions: Sessions, database: Database, operators: OperatorAuth, trusted_proxies: tuple[Network, ...]
    ) -> None:
        self._sessions = sessions
        self._database = database
        self._operators = operators
        self._trusted_proxies = trusted_proxies

    def is_ours(self, request: Request) -> bool:
        """Tell whether the request has a cookie that we made, without asking the database."""
        return self._sessions.read(request.cookies.get(COOKIE)) is not None

    def admit(self, request: Request, now: datetime) -> Visit | None:
        """Return the visit, or None if nobody is signed in. Asks the database: call it in a thread. Raises StorageUnavailable."""
        session = self._sessions.read(request.cookies.get(COOKIE))
        if session is None or not is_session(self._database, session.digest, to_micros(now)):
            return None
        operator = Operator(session.actor, self._operators.address_of(request))
        path = {name: make_storable(trim(str(value))) for name, value in request.path_params.items()}
        query = tuple((name, value) for name, value in request.query_params.multi_items() if trim(value))
        return Visit(operator, session, now, path, query, address_bar(request))

    def check_form(self, request: Request, form: Mapping[str, str], expected: str, expired: str = _EXPIRED) -> None:
        """Raise FormRefused, which says why, unless we made the form for this visitor and it was sent from a page of ours.

        `expected` is the token that the form should carry, `expired` what is said if it has another one.
        """
        headers = request.headers
        hosts = headers.getlist("host") + (headers.getlist("x-forwarded-host") if self._is_proxied(request) else [])
        fault = find_fault(headers.getlist("sec-fetch-site"), headers.getlist("origin"), hosts)
        if fault is not None:
            raise FormRefused(f"{fault} Nothing was changed. Open the page again in the console and try again.")
        if not is_same_token(form.get("form_token"), expected):
            raise FormRefused(expired)

    def is_https(self, request: Request) -> bool:
        """Tell whether the browser came by https; what a proxy says counts if the proxy is trusted."""
        if request.scope["scheme"] == "https":
            return True
        said = ",".join(request.headers.getlist("x-forwarded-proto")).lower().split(",")
        return "https" in {word.strip() for word in said} and self._is_proxied(request)

    def _is_proxied(self, request: Request) -> bool:
        try:
            return request.client is not None and is_listed(read_address(request.client.host), self._trusted_proxies)
        except ValueError:
            return False


def address_bar(request: Request) -> str:
    """Return path and query as they were sent."""
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    query = request.scope["query_string"]
    return str((raw + b"?" + query if query else raw).decode("latin-1"))
