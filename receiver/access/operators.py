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
from receiver.errors import NotFound, ReadOnlyToken, Refused, TooManyAttempts, Unauthorized

_READING = frozenset({"GET", "HEAD"})
AREAS = ("api", "console", "metrics")
"""The parts of the service that ask for an ops token."""

NoteWrongToken = Callable[[str, str | None], None]
"""Records a wrong token: area (one of `AREAS`) and client address (None: unknown)."""


class Operator(NamedTuple):
    """An authenticated operator: the name of the token, the resolved address (None: unknown), and whether it may only look."""

    name: str
    address: str | None
    only_looks: bool = False

    def check_method(self, method: str) -> None:
        """Raise ReadOnlyToken if a request with this method could change something and the token may only look."""
        if self.only_looks and method not in _READING:
            raise ReadOnlyToken("This token may only look. Use a token of RECEIVER_OPS_TOKENS to change something.")

    def entry(self, now: datetime, action: str, subject: str, detail: str | None) -> AuditRow:
        """Return the audit entry of an action of this operator."""
        return AuditRow(new_id(now), to_micros(now), self.name, self.address, action, subject, detail)


class OperatorAuth:
    """Identifies operators by their tokens; limits, counts and reports wrong tokens. `read_tokens` may only look.

    `refused` counts wrong tokens by area and error code; `note` is called for each of them. `note_use` is called with the name of
    each valid token. The console calls it itself, when a session begins.
    """

    def __init__(
        self,
        tokens: tuple[Secret, ...],
        read_tokens: tuple[Secret, ...],
        resolver: ClientResolver,
        refused: Counter[tuple[str, str]],
        note: NoteWrongToken,
        note_use: Callable[[str], None],
    ) -> None:
        self._tokens = (*tokens, *read_tokens)
        self._reading_names = {token.name for token in read_tokens}
        self._resolver = resolver
        self._refused = refused
        self._note = note
        self._note_use = note_use
        self._limit = WrongTokenLimit()

    def identify(self, request: Request, area: str = "api") -> Operator:
        """Return the operator of a request, by its bearer token.

        Raises NotFound (no ops token is set), Unauthorized, TooManyAttempts or ReadOnlyToken.
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
        operator = self.describe(name, request)
        operator.check_method(request.method)
        return operator

    def identify_token(self, request: Request, token: str) -> Operator:
        """Return the operator of a token that was typed into the console. Raises Unauthorized or TooManyAttempts."""
        name = match_token(self._tokens, trim(token).encode())
        if name is None:
            raise self._refuse(request, "console", Unauthorized("The token is not valid."))
        return self.describe(name, request)

    def describe(self, name: str, request: Request) -> Operator:
        """Return the operator with the token of this name, at the resolved address of a request."""
        address = self._resolver.identify(request.scope).address
        return Operator(name, None if isinstance(address, str) else str(address), name in self._reading_names)

    def _refuse(self, request: Request, area: str, error: Refused) -> Refused:
        """Count and report a wrong token; return the error to raise."""
        address = self._resolver.identify(request.scope).address
        wait_seconds = self._limit.take(address, monotonic())
        refusal = TooManyAttempts(wait_seconds) if wait_seconds else error
        self._refused[area, refusal.code] += 1
        self._note(area, None if isinstance(address, str) else str(address))
        return refusal
