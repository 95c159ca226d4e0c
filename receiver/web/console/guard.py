"""Who may see a page, and whose forms count."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.requests import Request

from receiver.addresses import Network, is_listed, read_address
from receiver.errors import FormRefused
from receiver.web.console.session import Session, Sessions, is_same_token
from receiver.web.operators import Operator, Operators

COOKIE = "receiver_session"


class Visit(NamedTuple):
    """One request of somebody who is signed in. `url` is what was asked for, as it stands in the address bar."""

    operator: Operator
    session: Session
    now: datetime
    path: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    url: str


class Guard:
    """Recognises sessions and refuses forms that are not ours."""

    def __init__(self, sessions: Sessions, operators: Operators, trusted_proxies: tuple[Network, ...]) -> None:
        self._sessions = sessions
        self._operators = operators
        self._trusted_proxies = trusted_proxies

    def admit(self, request: Request, now: datetime) -> Visit | None:
        """Return the visit, or None if nobody is signed in."""
        session = self._sessions.read(request.cookies.get(COOKIE), now)
        if session is None:
            return None
        operator = Operator(session.actor, self._operators.address_of(request))
        path = {name: str(value).replace("\0", "\ufffd") for name, value in request.path_params.items()}
        query = tuple((name, value) for name, value in request.query_params.multi_items() if value.strip())
        return Visit(operator, session, now, path, query, address_bar(request))

    def check_form(self, request: Request, form: Mapping[str, str], expected: str) -> None:
        """Raise FormRefused unless the form was made by us for this visitor and sent from a page of ours."""
        if not (self._is_ours(request) and is_same_token(form.get("form_token"), expected)):
            raise FormRefused("This form is too old, or it was not sent from this console. Nothing was changed. Open it again.")

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

    def _is_ours(self, request: Request) -> bool:
        """Browsers say where a request comes from (Fetch Metadata; Origin, RFC 6454), and no page can make them lie.

        Pages without a referrer send `Origin: null` with their forms, ours too: then the form's token decides.
        """
        site = request.headers.get("sec-fetch-site")
        if site is not None and site != "same-origin":
            return False
        origin = request.headers.get("origin")
        if origin is None or origin == "null":
            return True
        hosts = request.headers.getlist("host")
        if self._is_proxied(request):
            hosts += request.headers.getlist("x-forwarded-host")
        return urlsplit(origin).netloc.lower() in {host.strip().lower() for host in hosts}


def address_bar(request: Request) -> str:
    """Return path and query as they were sent."""
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    query = request.scope["query_string"]
    return str((raw + b"?" + query if query else raw).decode("latin-1"))
