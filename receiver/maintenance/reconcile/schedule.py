"""Lookups of silent trackers by the service itself: what never came is found without an operator."""

from collections.abc import Callable
from datetime import datetime
from threading import Event

from receiver import clock
from receiver.domain.reconciliation import ReconcileReport, ReconcileRequest
from receiver.domain.rows import AuditRow
from receiver.errors import VendorUnavailable
from receiver.maintenance.bring_in import DeliveryImport
from receiver.maintenance.execution import RunQuery
from receiver.maintenance.reconcile.ship24 import ReconcileProgress, Ship24Reconciliation
from receiver.maintenance.reconcile.ship24_api import Ship24Api, Wait
from receiver.processes.repeating import repeat
from receiver.storage.database import Database
from receiver.storage.queries import reconciliation as queries
from receiver.writer.commands.recovery import NoteLookup
from receiver.writer.executor import Do

AN_HOUR = 100
"""The maximum number of trackers that are looked up within an hour."""

_SECONDS = 3600.0 / AN_HOUR
_FIRST_SECONDS = 60.0
_NOTHING_SECONDS = 600.0  # until the next question, if no tracker is silent
_FAILED_SECONDS = 600.0
_HOUR_MICROS = 3600 * 1_000_000
_ACTOR = "service"


class ReconcileSchedule:
    """Looks up trackers that are still on their way and were silent for `hours`, one after the other, the longest unseen first.

    A lookup is noted whatever came of it, so one tracker that fails cannot hold up the others.
    """

    def __init__(
        self,
        hours: float,
        make_api: Callable[[Wait], Ship24Api | None],
        do: Do,
        read: RunQuery,
        database: Database,
        deliveries: DeliveryImport,
        pause_seconds: float = _SECONDS,
        first_seconds: float = _FIRST_SECONDS,
    ) -> None:
        self._hours = hours
        self._stop = Event()
        self._api = make_api(self._wait) if hours else None
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
        """Look up the tracker that was not seen for longest; return the seconds until the next one."""
        now = clock.to_micros(clock.now())
        before = now - round(self._hours * _HOUR_MICROS)
        for tracker_id in await self._read(queries.list_silent, self._database, before, 1):
            await self._look_up(tracker_id, now)
            return self._pause_seconds
        return _NOTHING_SECONDS

    async def _look_up(self, tracker_id: str, now: int) -> None:
        is_tracked = True
        try:
            erased = await self._read(queries.find_erased_trackers, self._database)
            is_tracked = tracker_id not in erased and await self._work.look_at(tracker_id, ReconcileRequest(), ReconcileReport())
        finally:
            await self._do(NoteLookup("ship24", tracker_id, now, is_tracked))

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise VendorUnavailable("The service stops.")


async def _save_nothing(_progress: ReconcileProgress) -> None:
    """Save nothing: each lookup is noted by itself."""


def _make_entry(now: datetime, action: str, subject: str, detail: str | None) -> AuditRow:
    return AuditRow(clock.new_id(now), clock.to_micros(now), _ACTOR, None, action, subject, detail)
