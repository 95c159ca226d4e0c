"""The last use of ops tokens, recorded so that a token which only the API sees does not look unused."""

from collections.abc import Callable
from time import monotonic

from receiver import clock
from receiver.clock import to_micros
from receiver.writer.commands.operators import NoteTokenUses

_PAUSE_SECONDS = 60.0


class TokenUses:
    """Records the use of each ops token at most once a minute. `send` sends a command and does not wait."""

    def __init__(self, send: Callable[[NoteTokenUses], None]) -> None:
        self._send = send
        self._noted_at: dict[str, float] = {}

    def note(self, token: str) -> None:
        """Record that the token with this name was used now."""
        now_seconds = monotonic()
        if now_seconds - self._noted_at.get(token, float("-inf")) >= _PAUSE_SECONDS:
            self._noted_at[token] = now_seconds
            self._send(NoteTokenUses({("ops", token): to_micros(clock.now())}))
