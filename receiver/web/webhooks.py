"""The door for senders. The order of one call stands in `Webhook._take`: gate, bounded read, parse, store, answer.

The gate needs only headers, so a call without a token never gets a byte of its body into memory.
"""

from datetime import datetime
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

from receiver import clock, intake
from receiver.addresses import Address, Network, resolve
from receiver.errors import Busy, MethodNotAllowed, NotFound, Refused
from receiver.gate import Admission, Gate
from receiver.records import Answer, Delivery
from receiver.sources import Source
from receiver.web.body import BodyReader
from receiver.web.desk import Desk
from receiver.web.headers import HeaderReader, Headers
from receiver.web.responses import send_answer
from receiver.web.windows import SetupWindows

_NOT_ADMITTED = Admission(None, None)


class _Caller(NamedTuple):
    """Who calls: `client` is the resolved address, or the reason why there is none."""

    arrived: datetime
    headers: Headers
    peer: str | None
    client: Address | str


class Webhook:
    """The endpoint of one path of one sender, as an ASGI application."""

    def __init__(
        self,
        source: Source,
        gate: Gate,
        trusted_proxies: tuple[Network, ...],
        windows: SetupWindows,
        headers: HeaderReader,
        bodies: BodyReader,
        desk: Desk,
    ) -> None:
        self._source = source
        self._gate = gate
        self._trusted_proxies = trusted_proxies
        self._windows = windows
        self._headers = headers
        self._bodies = bodies
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call. HEAD is 200 for anybody: Ship24 asks so before it lets the URL be saved."""
        if scope["method"] == "HEAD":
            await send_answer(send, Answer(200, b""))
        else:
            await send_answer(send, await self._take(scope, receive))

    async def _take(self, scope: Scope, receive: Receive) -> Answer:
        caller = self._identify(scope)
        admission, body = _NOT_ADMITTED, b""
        try:
            admission = self._admit(scope, caller)
            body = await self._bodies.read(receive, caller.headers.content_length)
        except (Refused, Busy) as error:
            return await self._desk.put_on_record(self._make_delivery(scope, caller, admission, body), error)
        try:
            return await self._desk.keep(intake.take(self._source, self._make_delivery(scope, caller, admission, body)))
        finally:
            self._bodies.release(body)

    def _identify(self, scope: Scope) -> _Caller:
        headers = self._headers.read(scope["headers"])
        peer = scope["client"][0] if scope["client"] else None
        try:
            client: Address | str = resolve(peer, headers.forwarded, self._trusted_proxies)
        except ValueError as unknown:
            client = str(unknown)
        return _Caller(clock.now(), headers, peer, client)

    def _admit(self, scope: Scope, caller: _Caller) -> Admission:
        if scope["method"] != "POST":
            raise MethodNotAllowed("Expected POST, or HEAD as a probe.")
        if not self._gate.tokens:
            raise NotFound(f"{self._source.name} is off here: no token is set for it.")
        window_open = self._windows.is_open(self._source.name, clock.to_micros(caller.arrived))
        return self._gate.admit(caller.headers.authorization, caller.client, window_open=window_open)

    def _make_delivery(self, scope: Scope, caller: _Caller, admission: Admission, body: bytes) -> Delivery:
        return Delivery(
            clock.new_id(caller.arrived),
            self._source.name,
            self._source.kind,
            scope["method"],
            self._source.path,
            clock.to_micros(caller.arrived),
            caller.peer,
            None if isinstance(caller.client, str) else str(caller.client),
            admission.token,
            admission.note,
            caller.headers.kept,
            body,
        )
