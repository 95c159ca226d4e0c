"""Who operates: the holders of ops tokens. Without such a token in the settings everything under `/ops` is off.

API, console and `/metrics` identify operators here and nowhere else. A right token is never refused for the wrong ones that came
before it, from whatever address: a limit that locked it out would let strangers behind the same proxy lock out operators.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from time import monotonic
from typing import NamedTuple

from starlette.requests import Request

from receiver.access.attempts import Attempts
from receiver.access.bearer import Secret, match_bearer, match_token
from receiver.access.guard import ClientResolver
from receiver.clock import new_id, to_micros
from receiver.domain.rows import AuditRow
from receiver.domain.trimming import trim
from receiver.errors import NotFound, Refused, TooManyAttempts, Unauthorized

NoteWrongToken = Callable[[str, str | None], None]


class Operator(NamedTuple):
    """One who may ask and change things: the name of the token, and the resolved address (None: not resolvable)."""

    name: str
    address: str | None

    def entry(self, now: datetime, action: str, subject: str, detail: str | None) -> AuditRow:
        """Return what goes on record of something that this operator has done."""
        return AuditRow(new_id(now), to_micros(now), self.name, self.address, action, subject, detail)


class OperatorAuth:
    """Knows operators by their tokens; limits and counts the tokens that are wrong, and hands them on to `note`.

    `refused` is counted by area and error code. `note_use` takes the name of a right token that came with a request; a session of
    the console is noted when it begins.
    """

    def __init__(
        self,
        tokens: tuple[Secret, ...],
        resolver: ClientResolver,
        refused: Counter[tuple[str, str]],
        note: NoteWrongToken,
        note_use: Callable[[str], None],
    ) -> None:
        self._tokens = tokens
        self._resolver = resolver
        self._refused = refused
        self._note = note
        self._note_use = note_use
        self._attempts = Attempts()

    def identify(self, request: Request, area: str = "api") -> Operator:
        """Say who asks, by the bearer token. Raises NotFound (no ops token is set), Unauthorized or TooManyAttempts."""
        if not self._tokens:
            raise NotFound("Unknown path.")
        sent = tuple(value.encode("latin-1") for value in request.headers.getlist("authorization"))
        try:
            name = match_bearer(self._tokens, sent)
        except Unauthorized as error:
            if not sent:  # nobody has guessed anything
                raise
            raise self._refuse(request, area, error) from None
        self._note_use(name)
        return Operator(name, self.address_of(request))

    def identify_token(self, request: Request, token: str) -> Operator:
        """Say who has typed a token into the console. Raises Unauthorized or TooManyAttempts."""
        name = match_token(self._tokens, trim(token).encode())
        if name is None:
            raise self._refuse(request, "console", Unauthorized("The token is not one of those set here."))
        return Operator(name, self.address_of(request))

    def address_of(self, request: Request) -> str | None:
        """Return the address from which a request comes, as far as proxies can be trusted."""
        client = self._resolver.identify(request.scope).client
        return None if isinstance(client, str) else str(client)

    def _refuse(self, request: Request, area: str, error: Refused) -> Refused:
        """Return the error for a wrong token, counted and noted."""
        client = self._resolver.identify(request.scope).client
        wait_seconds = self._attempts.take(client, monotonic())
        refusal = TooManyAttempts(wait_seconds) if wait_seconds else error
        self._refused[area, refusal.code] += 1
        self._note(area, None if isinstance(client, str) else str(client))
        return refusal
