"""The tokens of this service, recorded when it starts, and the tokens that were removed before."""

import asyncio
from collections.abc import Mapping, Sequence

from receiver import clock
from receiver.access.bearer import Secret
from receiver.clock import to_micros
from receiver.domain.tokens import RemovedToken
from receiver.processes.repeating import repeat
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.writer.commands.tokens import RecordTokens
from receiver.writer.executor import Do

_PAUSE_SECONDS = 600.0  # another receiver may start without a token
_AGAIN_SECONDS = 10.0


class KnownTokens:
    """Records `tokens`, given by source, once. Then it knows the removed ones, which it reads every ten minutes."""

    def __init__(self, tokens: Mapping[str, Sequence[Secret]], database: Database, do: Do) -> None:
        self._tokens = [(source, token.name, token.fingerprint) for source, own in tokens.items() for token in own]
        self._database = database
        self._do = do
        self._started_at = to_micros(clock.now())  # before the first request: its use must not look older than its token
        self._is_recorded = False
        self._removed: dict[str, RemovedToken] = {}

    async def run(self) -> None:
        """Record the tokens and read the removed ones, until cancelled."""
        await repeat("tokens_not_recorded", self._step, again_seconds=_AGAIN_SECONDS)

    def find_removed(self, fingerprint: str) -> RemovedToken | None:
        """Return the removed token with this fingerprint."""
        return self._removed.get(fingerprint)

    async def _step(self) -> float:
        if not self._is_recorded:
            known = [(source, name, fingerprint) for source, name, fingerprint in self._tokens if fingerprint is not None]
            await self._do(RecordTokens(known, self._started_at))
            self._is_recorded = True
        removed = await asyncio.to_thread(queries.removed_tokens, self._database)
        self._removed = {token.fingerprint: token for token in removed}
        return _PAUSE_SECONDS
