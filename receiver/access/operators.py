"""Authentication of operators by ops tokens, for API, console and `/metrics`. Without a token everything under `/ops` is off.

A valid token is always accepted, however many wrong ones came from the same address. Otherwise strangers behind the same proxy
could lock operators out.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from time import monotonic
from typing import NamedTuple

from starlette.requests import Request

from receiver.access.bearer import Secret, match_bearer, match_token
from receiver.access.guard import ClientResolver
from receiver.access.wrong_token_limit import WrongTokenLimit
from receiver.clock import new_id, to_micros
from receiver.domain.rows import AuditRow
from receiver.domain.trimming import trim
from receiver.errors import NotFound, Refused, TooManyAttempts, Unauthorized

NoteWrongToken = Callable[[str, str | None], None]
"""Records a wrong token: area (`api`, `console`, `metrics`) and client address (None: unknown)."""


class Operator(NamedTuple):
    """An authenticated operator: the name of the token, and the resolved address (None: unknown)."""

    name: str
    address: str | None

    def entry(self, now: datetime, action: str, subject: str, detail: str | None) -> AuditRow:
        """Return the audit entry of an action of this operator."""
        return AuditRow(new_id(now), to_micros(now), self.name, self.address, action, subject, detail)


class OperatorAuth:
    """Identifies operators by their tokens; limits, counts and reports wrong tokens.

    `refused` counts wrong tokens by area and error code; `note` is called for each of them. `note_use` is called with the name of
    each valid token. The console calls it itself, when a session begins.
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
        self._limit = WrongTokenLimit()

    def identify(self, request: Request, area: str = "api") -> Operator:
        """Return the operator of a request, by its bearer token.

        Raises NotFound (no ops token is set), Unauthorized or TooManyAttempts.
        """
        if not self._tokens:
            raise NotFound("Unknown path.")
        sent = tuple(value.encode("latin-1") for value in request.headers.getlist("authorization"))
        try:
            name = match_bearer(self._tokens, sent)
        except Unauthorized as error:
            if not sent:  # nothing was guessed
                raise
            raise self._refuse(request, area, error) from None
        self._note_use(name)
        return Operator(name, self.address_of(request))

    def identify_token(self, request: Request, token: str) -> Operator:
        """Return the operator of a token that was typed into the console. Raises Unauthorized or TooManyAttempts."""
        name = match_token(self._tokens, trim(token).encode())
        if name is None:
            raise self._refuse(request, "console", Unauthorized("The token is not valid."))
        return Operator(name, self.address_of(request))

    def address_of(self, request: Request) -> str | None:
        """Return the resolved address of a request, or None if it is unknown."""
        address = self._resolver.identify(request.scope).address
        return None if isinstance(address, str) else str(address)

    def _refuse(self, request: Request, area: str, error: Refused) -> Refused:
        """Count and report a wrong token; return the error to raise."""
        address = self._resolver.identify(request.scope).address
        wait_seconds = self._limit.take(address, monotonic())
        refusal = TooManyAttempts(wait_seconds) if wait_seconds else error
        self._refused[area, refusal.code] += 1
        self._note(area, None if isinstance(address, str) else str(address))
        return refusal
