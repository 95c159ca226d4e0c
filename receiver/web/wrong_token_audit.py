"""Audit entries of wrong ops tokens: first one each, then one for many, so that guesses cannot fill the audit log."""

import asyncio
from collections import deque
from contextlib import suppress
from time import monotonic

import structlog

from receiver import clock
from receiver.access.rate_limit import TokenBucket
from receiver.clock import iso, new_id, to_micros
from receiver.domain.rows import AuditRow
from receiver.errors import ReceiverError
from receiver.processes.repeating import repeat
from receiver.writer.commands.operators import WRONG_TOKEN, NoteWrongToken
from receiver.writer.executor import Do

ACTOR = "nobody"
_SINGLE_ROWS = 10
_SINGLE_ROWS_PER_SECOND = 1 / 3600
_FIRST_SUM_SECONDS = 60.0
_MAX_SUM_SECONDS = 3600.0
_MAX_NAMED = 100  # addresses that one sum distinguishes
_AGAIN_SECONDS = 10.0
_CLOSING_SECONDS = 2.0

_log = structlog.get_logger()


class WrongTokenAudit:
    """Collects audit entries of wrong tokens without waiting and records them in the background. `do` executes a command."""

    def __init__(self, do: Do, first_sum_seconds: float = _FIRST_SUM_SECONDS) -> None:
        self._do = do
        self._first_sum_seconds = first_sum_seconds
        self._sum_seconds = first_sum_seconds
        self._single_rows = TokenBucket(_SINGLE_ROWS, _SINGLE_ROWS_PER_SECOND)
        self._rows: deque[AuditRow] = deque()
        self._summed = 0
        self._since = 0
        self._addresses: set[str | None] = set()
        self._due_seconds = 0.0
        self._signal = asyncio.Event()

    def note(self, area: str, address: str | None) -> None:
        """Note one wrong token: `area` is `api`, `console` or `metrics`."""
        now = clock.now()
        if self._single_rows.take(monotonic()):
            self._rows.append(AuditRow(new_id(now), to_micros(now), ACTOR, address, WRONG_TOKEN, area, None))
            self._sum_seconds = self._first_sum_seconds
            _log.warning("ops_token_refused", area=area, address=address)
        elif not self._summed:
            self._summed, self._since, self._addresses = 1, to_micros(now), {address}
            self._due_seconds = monotonic() + self._sum_seconds
        else:
            self._summed += 1
            if len(self._addresses) < _MAX_NAMED:
                self._addresses.add(address)
        if self._rows or self._summed == 1:
            self._signal.set()

    async def run(self) -> None:
        """Write the entries, until cancelled."""
        await repeat("wrong_tokens_not_recorded", self._step, again_seconds=_AGAIN_SECONDS)

    async def close(self) -> None:
        """Write the remaining entries, for a bounded time: the database may be unavailable."""
        self._add_sum()
        with suppress(ReceiverError, TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._write()

    async def _step(self) -> float:
        """Wait for a wrong token, or until the sum is due, and write."""
        wait_seconds = max(0.0, self._due_seconds - monotonic()) if self._summed else None
        try:
            async with asyncio.timeout(wait_seconds):
                await self._signal.wait()
        except TimeoutError:
            self._add_sum()
        self._signal.clear()
        await self._write()
        return 0.0

    def _add_sum(self) -> None:
        if not self._summed:
            return
        now = clock.now()
        detail = f"{self._summed:,} more since {iso(self._since)}, from {_count(self._addresses)}"
        address = next(iter(self._addresses)) if len(self._addresses) == 1 else None
        self._rows.append(AuditRow(new_id(now), to_micros(now), ACTOR, address, WRONG_TOKEN, "operators", detail))
        _log.warning("ops_tokens_refused", requests=self._summed, addresses=len(self._addresses))
        self._summed = 0
        self._sum_seconds = min(_MAX_SUM_SECONDS, 4 * self._sum_seconds)

    async def _write(self) -> None:
        while self._rows:
            await self._do(NoteWrongToken(self._rows[0]))
            self._rows.popleft()


def _count(addresses: set[str | None]) -> str:
    if len(addresses) >= _MAX_NAMED:
        return f"{_MAX_NAMED} addresses or more"
    return "1 address" if len(addresses) == 1 else f"{len(addresses)} addresses"
