"""Who stands before one of our paths, and may they come in: the same rules for what a sender posts and for what it fetches."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from starlette.types import Scope

from receiver import clock
from receiver.access.addresses import Address, Network, resolve
from receiver.access.bearer import AccessPolicy, Admission, match_bearer
from receiver.access.headers import HeaderReader, Headers
from receiver.access.setup_windows import SetupWindows
from receiver.domain.records import Delivery
from receiver.domain.storable import make_storable
from receiver.errors import MethodNotAllowed, NotFound, Unauthorized

_MAX_PATH_LENGTH = 200
NOT_ADMITTED = Admission(None, None)


class Client(NamedTuple):
    """Who calls: `client` is the resolved address, or the reason why there is none."""

    arrived: datetime
    headers: Headers
    peer: str | None
    client: Address | str


class ClientResolver:
    """What all paths share: whom to believe about addresses, what may be written down of headers, which windows are open."""

    def __init__(self, trusted_proxies: tuple[Network, ...], headers: HeaderReader, windows: SetupWindows) -> None:
        self._trusted_proxies = trusted_proxies
        self._headers = headers
        self._windows = windows

    def identify(self, scope: Scope) -> Client:
        """Say who calls, from the connection and the headers."""
        headers = self._headers.read(scope["headers"])
        peer = scope["client"][0] if scope["client"] else None
        try:
            client: Address | str = resolve(peer, headers.forwarded, self._trusted_proxies)
        except ValueError as unknown:
            client = str(unknown)
        return Client(clock.now(), headers, peer, client)

    def strike(self, text: str) -> str:
        """Return a text that a caller sent without the secrets in it."""
        return self._headers.strike(text)

    def is_window_open(self, source: str, caller: Client) -> bool:
        """Tell whether the setup window of a source was open when the call arrived."""
        return self._windows.is_open(source, clock.to_micros(caller.arrived))


class RequestGuard:
    """One path of one source: `methods` are those that it takes, the first one being what it is for."""

    def __init__(
        self, source: str, kind: str, path: str, methods: Sequence[str], access_policy: AccessPolicy, resolver: ClientResolver
    ) -> None:
        self._source = source
        self._kind = kind
        self._path = path
        self._methods = methods
        self._access_policy = access_policy
        self._resolver = resolver

    @property
    def path(self) -> str:
        """The path."""
        return self._path

    @property
    def is_webhook(self) -> bool:
        """Whether somebody can post to it now: its source is on."""
        return "POST" in self._methods and bool(self._access_policy.tokens)

    def identify(self, scope: Scope) -> Client:
        """Say who calls."""
        return self._resolver.identify(scope)

    def admit(self, scope: Scope, caller: Client) -> Admission:
        """Let a call in. Raises MethodNotAllowed, NotFound (no token is set), Unauthorized or AddressNotAllowed."""
        if scope["method"] not in self._methods:
            raise MethodNotAllowed(f"Expected {' or '.join(self._methods)}.", self._methods)
        if not self._access_policy.tokens:
            raise NotFound(f"{self._source} is off here: no token is set for it.")
        window_open = self._resolver.is_window_open(self._source, caller)
        return self._access_policy.admit(caller.headers.authorization, caller.client, window_open=window_open)

    def recognise(self, caller: Client) -> str | None:
        """Return the name of the caller's token, or None if it is no token of this source."""
        try:
            return match_bearer(self._access_policy.tokens, caller.headers.authorization)
        except Unauthorized:
            return None

    def show_path(self, path: str) -> str:
        """Return a path that a caller sent as it goes on record: without secrets, and not long."""
        return make_storable(self._resolver.strike(path), _MAX_PATH_LENGTH)

    def make_delivery(self, scope: Scope, caller: Client, admission: Admission, body: bytes) -> Delivery:
        """Return the call as it goes on record."""
        return Delivery(
            clock.new_id(caller.arrived),
            self._source,
            self._kind,
            scope["method"],
            self._path,
            clock.to_micros(caller.arrived),
            caller.peer,
            None if isinstance(caller.client, str) else str(caller.client),
            admission.token,
            admission.note,
            caller.headers.kept,
            body,
        )
