"""Who operates: the holders of ops tokens. Without such a token in the settings everything under `/ops` is off."""

from datetime import datetime
from typing import NamedTuple

from starlette.requests import Request

from receiver.clock import new_id, to_micros
from receiver.errors import NotFound
from receiver.gate import Secret, match_bearer
from receiver.rows import AuditRow
from receiver.web.door import Doorman


class Operator(NamedTuple):
    """One who may ask and change things: the name of the token, and the resolved address (None: not resolvable)."""

    name: str
    address: str | None

    def entry(self, now: datetime, action: str, subject: str, detail: str | None) -> AuditRow:
        """Return what goes on record of something that this operator has done."""
        return AuditRow(new_id(now), to_micros(now), self.name, self.address, action, subject, detail)


class Operators:
    """Knows operators by their tokens."""

    def __init__(self, tokens: tuple[Secret, ...], doorman: Doorman) -> None:
        self._tokens = tokens
        self._doorman = doorman

    def identify(self, request: Request) -> Operator:
        """Say who asks, by the bearer token. Raises NotFound (no ops token is set) or Unauthorized."""
        if not self._tokens:
            raise NotFound("There is nothing at this path.")
        sent = tuple(value.encode("latin-1") for value in request.headers.getlist("authorization"))
        return Operator(match_bearer(self._tokens, sent), self.address_of(request))

    def address_of(self, request: Request) -> str | None:
        """Return the address from which a request comes, as far as proxies can be trusted."""
        client = self._doorman.identify(request.scope).client
        return None if isinstance(client, str) else str(client)
