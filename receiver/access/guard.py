"""Authentication of webhook requests and customer-list downloads: client address, bearer token, address policy."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from starlette.types import Scope

from receiver import clock
from receiver.access.addresses import Address, Network, resolve
from receiver.access.bearer import AccessPolicy, Admission, match_bearer
from receiver.access.headers import HeaderReader, Headers
from receiver.access.marks import MarkedTest
from receiver.access.refusal_causes import WrongTokens
from receiver.access.setup_windows import SetupWindows
from receiver.domain.records import Delivery
from receiver.domain.storable import make_storable
from receiver.errors import MethodNotAllowed, NotFound, Unauthorized

_MAX_PATH_LENGTH = 200
_KNOWN_CLIENTS = 512  # connections and X-Forwarded-For lines whose client is remembered: few senders send most requests
_MAX_KNOWN_BYTES = 200
NOT_ADMITTED = Admission(None, None)


class Client(NamedTuple):
    """The client of one request, which arrived at `arrived_at`.

    `peer` is the address of the connection, `address` the resolved address of the client, or the reason why it is unknown.
    `shown` is the address as text, or None if it is unknown.
    """

    arrived_at: datetime
    headers: Headers
    peer: str | None
    address: Address | str
    shown: str | None


class ClientResolver:
    """Finds the client address and the headers of requests, and whether a setup window is open. All paths share it."""

    def __init__(self, trusted_proxies: tuple[Network, ...], headers: HeaderReader, windows: SetupWindows) -> None:
        self._trusted_proxies = trusted_proxies
        self._headers = headers
        self._windows = windows
        self._find_known = lru_cache(_KNOWN_CLIENTS)(self._find)

    def identify(self, scope: Scope) -> Client:
        """Return the client of a request, from its connection and headers."""
        headers = self._headers.read(scope["headers"])
        peer = scope["client"][0] if scope["client"] else None
        find = self._find_known if sum(map(len, headers.forwarded)) <= _MAX_KNOWN_BYTES else self._find
        return Client(clock.now(), headers, peer, *find(peer, headers.forwarded))

    def _find(self, peer: str | None, forwarded: tuple[str, ...]) -> tuple[Address | str, str | None]:
        try:
            address = resolve(peer, forwarded, self._trusted_proxies)
        except ValueError as error:
            return str(error), None
        return address, str(address)

    def redact(self, text: str) -> str:
        """Return a text from a client without the known secrets in it."""
        return self._headers.redact(text)

    def is_window_open(self, source: str, client: Client) -> bool:
        """Tell whether the setup window of a source was open when the request arrived."""
        return self._windows.is_open(source, clock.to_micros(client.arrived_at))


class RequestGuard:
    """Admits or refuses requests to one path of one source. `methods` are the allowed ones."""

    def __init__(
        self,
        source: str,
        kind: str,
        path: str,
        methods: Sequence[str],
        access_policy: AccessPolicy,
        resolver: ClientResolver,
        wrong_tokens: WrongTokens,
    ) -> None:
        self._source = source
        self._kind = kind
        self._path = path
        self._methods = methods
        self._access_policy = access_policy
        self._resolver = resolver
        self._wrong_tokens = wrong_tokens

    @property
    def path(self) -> str:
        """The guarded path."""
        return self._path

    @property
    def is_webhook(self) -> bool:
        """Tell whether senders can post to this path: it accepts POST, and its source is on."""
        return "POST" in self._methods and bool(self._access_policy.tokens)

    def identify(self, scope: Scope) -> Client:
        """Return the client of a request."""
        return self._resolver.identify(scope)

    def admit(self, scope: Scope, client: Client) -> Admission:
        """Admit a request. Raises MethodNotAllowed, NotFound (no token is set), Unauthorized or AddressNotAllowed."""
        if scope["method"] not in self._methods:
            raise MethodNotAllowed(f"Expected {' or '.join(self._methods)}.", self._methods)
        if not self._access_policy.tokens:
            raise NotFound(f"{self._source} is disabled: no token is configured.")
        window_open = self._resolver.is_window_open(self._source, client)
        try:
            return self._access_policy.admit(client.headers.authorization, client.address, window_open=window_open)
        except Unauthorized as error:
            error.cause, error.detail = self._wrong_tokens.explain(self._source, scope["headers"], scope["query_string"])
            raise

    def recognise(self, client: Client) -> str | None:
        """Return the name of the client's token, or None if it is not a token of this source."""
        try:
            return match_bearer(self._access_policy.tokens, client.headers.authorization)
        except Unauthorized:
            return None

    def show_path(self, path: str) -> str:
        """Return a requested path in the form that is stored: without secrets, and shortened."""
        return make_storable(self._resolver.redact(path), _MAX_PATH_LENGTH)

    def make_delivery(
        self, scope: Scope, client: Client, admission: Admission, body: bytes, mark: MarkedTest | None = None
    ) -> Delivery:
        """Return the delivery in the form that is stored. `mark` is the accepted mark of a test."""
        return Delivery(
            clock.new_id(client.arrived_at),
            self._source,
            self._kind,
            scope["method"],
            self._path,
            clock.to_micros(client.arrived_at),
            client.peer,
            client.shown,
            admission.token,
            admission.note,
            client.headers.storable,
            body,
            None if mark is None else mark.run,
            mark is not None and mark.hands_on,
        )
