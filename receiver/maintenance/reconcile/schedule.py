"""Lookups of silent trackers by the service itself: what never came is found without an operator."""

from collections import deque
from collections.abc import Callable
from datetime import datetime
from threading import Event

from receiver import clock
from receiver.domain.reconciliation import ReconcileProgress, ReconcileReport, ReconcileRequest
from receiver.domain.rows import AuditRow
from receiver.maintenance.bring_in import DeliveryImport
from receiver.maintenance.execution import RunQuery
from receiver.maintenance.reconcile.ship24 import Ship24Reconciliation
from receiver.maintenance.reconcile.ship24_api import ReconcileStopped, Ship24Api, Wait
from receiver.processes.repeating import repeat
from receiver.storage.database import Database
from receiver.storage.queries.silent_trackers import list_silent
from receiver.writer.commands.recovery import EndTracking, TakeLookup
from receiver.writer.executor import Do

AN_HOUR = 100
"""The maximum number of trackers that all receivers together look up within an hour."""

_SECONDS = 3600.0 / AN_HOUR
_FIRST_SECONDS = 60.0
_NOTHING_SECONDS = 600.0  # until the next question, if no tracker is silent
_FAILED_SECONDS = 600.0
_HOUR_MICROS = 3600 * 1_000_000
_ACTOR = "service"


class ReconcileSchedule:
    """Looks up trackers that are still on their way and were silent for `hours`, one after the other, the longest unseen first.

    A lookup is noted before it is made, so neither a tracker that fails nor another receiver makes it twice.
    """

    def __init__(
        self,
        hours: float,
        make_api: Callable[[Wait], Ship24Api] | None,
        do: Do,
        read: RunQuery,
        database: Database,
        deliveries: DeliveryImport,
        pause_seconds: float = _SECONDS,
        first_seconds: float = _FIRST_SECONDS,
    ) -> None:
        self._hours = hours
        self._stop = Event()
        self._next: deque[str] = deque()
        self._api = make_api(self._wait) if hours and make_api is not None else None
        self._do = do
        self._read = read
        self._database = database
        self._pause_seconds = pause_seconds
        self._first_seconds = first_seconds
        self._work = Ship24Reconciliation(self._api, database, read, deliveries, _make_entry, _save_nothing)

    async def run(self) -> None:
        """Look up one tracker after the other, if this is switched on and there is a key."""
        if self._api is None:
            return
        try:
            await repeat("reconcile_failed", self.look_up_next, first_seconds=self._first_seconds, again_seconds=_FAILED_SECONDS)
        finally:
            self._stop.set()

    async def look_up_next(self) -> float:
        """Look up the tracker that was not seen for longest; return the seconds until the next one.

        A whole hour of trackers is read at once: it takes a look at every tracker that is silent.
        """
        now = clock.to_micros(clock.now())
        before = now - round(self._hours * _HOUR_MICROS)
        if not self._next:
            self._next.extend(await self._read(list_silent, self._database, before, AN_HOUR))
        if not self._next:
            return _NOTHING_SECONDS
        tracker_id = self._next.popleft()
        if await self._do(TakeLookup("ship24", tracker_id, now, before, now - _HOUR_MICROS, AN_HOUR)):
            await self._work.read_erased()
            if not await self._work.look_at(tracker_id, ReconcileRequest(), ReconcileReport()):
                await self._do(EndTracking("ship24", tracker_id))
        return self._pause_seconds

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise ReconcileStopped("The service stops.")


async def _save_nothing(_progress: ReconcileProgress) -> None:
    """Save nothing: each lookup is noted by itself."""


def _make_entry(now: datetime, action: str, subject: str, detail: str | None) -> AuditRow:
    return AuditRow(clock.new_id(now), clock.to_micros(now), _ACTOR, None, action, subject, detail)
