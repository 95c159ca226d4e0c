"""A reconciliation that runs in the service, whoever watches it. There is one at most."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from threading import Event

import structlog

from receiver.domain.reconciliation import ReconcileRequest
from receiver.domain.rows import ReconciliationRow
from receiver.errors import AlreadyRunning, NotFound, ReceiverError, UnexpectedShape, name_error
from receiver.maintenance.execution import MakeEntry
from receiver.maintenance.reconcile.runs import ReconcileRuns
from receiver.maintenance.reconcile.ship24_api import ReconcileStopped, Ship24Api, Wait
from receiver.sources.shiipp_export import PackageExport

_log = structlog.get_logger()

Work = Callable[[ReconciliationRow], Awaitable[ReconciliationRow]]
"""Does the work of a run and returns the run after it."""


class ReconcileJobs:
    """Begins, shows and stops the one reconciliation that runs.

    `make_api` returns a client of the vendor that waits with the given function; it is None without a key.
    """

    def __init__(self, runs: ReconcileRuns, make_api: Callable[[Wait], Ship24Api] | None) -> None:
        self.runs = runs
        self.deliveries = runs.deliveries
        self._make_api = make_api
        self._stop = Event()
        self._row: ReconciliationRow | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_beginning = False

    async def begin(self, request: ReconcileRequest, make_entry: MakeEntry) -> ReconciliationRow:
        """Begin a reconciliation, or continue the last one with the same request. Raises AlreadyRunning or UnexpectedShape."""
        if self._make_api is None:
            raise UnexpectedShape("Set RECEIVER_SHIP24_API_KEY for the service, and restart it.")
        api = self._make_api(self._wait)
        return await self._begin(
            partial(self.runs.begin, request, make_entry),
            lambda row: self.runs.run(row, api, make_entry, self._stop.is_set, self._note),
        )

    async def begin_exports(self, exports: Sequence[PackageExport], make_entry: MakeEntry, *, dry_run: bool) -> ReconciliationRow:
        """Begin to compare exports of Shiipp. Raises AlreadyRunning."""
        return await self._begin(
            partial(self.runs.begin_exports, exports, make_entry, dry_run=dry_run),
            lambda row: self.runs.run_exports(row, exports, make_entry, self._stop.is_set, self._note),
        )

    async def _begin(self, begin: Callable[[], Awaitable[ReconciliationRow]], work: Work) -> ReconciliationRow:
        """Begin a run, if there is none.

        The race: a second request while the first one waits for the database. So the place is taken before that.
        """
        if self._is_beginning or self.running_id() is not None:
            raise AlreadyRunning("A reconciliation runs already.")
        self._is_beginning = True
        try:
            self._stop.clear()
            row = self._row = await begin()
            self._task = asyncio.create_task(self._run(row, work))
        finally:
            self._is_beginning = False
        return row

    def read(self, run: str) -> tuple[ReconciliationRow, bool]:
        """Return a run of this process, and whether it goes on. Raises NotFound."""
        if self._row is None or self._row.id != run or self._task is None:
            raise NotFound("This reconciliation does not run here. The service was started again, or another one has begun.")
        return self._row, not self._task.done()

    @property
    def has_key(self) -> bool:
        """Whether the vendor can be asked."""
        return self._make_api is not None

    def running_id(self) -> str | None:
        """Return the id of the run that goes on in this process, or None."""
        is_running = self._task is not None and not self._task.done()
        return self._row.id if is_running and self._row is not None else None

    def stop(self, run: str) -> None:
        """Ask a run to stop after the tracker that it looks at. Raises NotFound."""
        self.read(run)
        self._stop.set()

    async def run(self) -> None:
        """Wait until the service stops, then stop what runs. It can be continued."""
        try:
            await asyncio.Event().wait()
        finally:
            self._stop.set()
            if self._task is not None:
                self._task.cancel()

    async def _run(self, row: ReconciliationRow, work: Work) -> None:
        try:
            self._note(await work(row))
        except ReceiverError as error:
            self._fail(error.message)
        except Exception as error:
            _log.error("reconcile_failed", error=name_error(error))
            self._fail(f"This service failed to do it ({name_error(error)}).")

    def _note(self, row: ReconciliationRow) -> None:
        self._row = row

    def _fail(self, problem: str) -> None:
        assert self._row is not None
        self._row = self._row._replace(problem=problem)

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise ReconcileStopped("Stopped. The same request continues.")
