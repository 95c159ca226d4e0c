"""Runs of a reconciliation: begun, continued where the last one stopped, and saved after each tracker or group of rows."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import orjson

from receiver import clock
from receiver.domain.reconciliation import Position, ReconcileProgress, ReconcileReport, ReconcileRequest
from receiver.domain.rows import ReconciliationRow
from receiver.errors import ReceiverError
from receiver.maintenance.bring_in import DeliveryImport
from receiver.maintenance.execution import MakeEntry, RunQuery
from receiver.maintenance.reconcile.shiipp import SHIIPP, ShiippReconciliation
from receiver.maintenance.reconcile.ship24 import Ship24Reconciliation
from receiver.maintenance.reconcile.ship24_api import Ship24Api
from receiver.sources.field_paths import FieldPaths
from receiver.sources.shiipp_export import PackageExport
from receiver.storage.database import Database
from receiver.storage.queries import reconciliation as queries
from receiver.writer.commands.operators import AddAuditEntry
from receiver.writer.commands.recovery import SaveReconciliation
from receiver.writer.executor import Do

SHIP24 = "ship24"
ACTION = "reconcile"
"""The action in the audit log; its subject is the sender."""

_CONTINUED = timedelta(days=7)  # later, the same request begins anew

Show = Callable[[ReconciliationRow], None]
Save = Callable[[ReconcileProgress], Awaitable[None]]


class ReconcileRuns:
    """Runs reconciliations. `do` executes a command, `read` a query, `deliveries` brings in bodies.

    `new_package` are the field paths of Shiipp's new packages in the settings.
    """

    def __init__(self, do: Do, read: RunQuery, database: Database, deliveries: DeliveryImport, new_package: FieldPaths) -> None:
        self._do = do
        self._read = read
        self._database = database
        self.deliveries = deliveries
        self._new_package = new_package

    async def begin(self, request: ReconcileRequest, make_entry: MakeEntry) -> ReconciliationRow:
        """Return a new run of Ship24, or the last one with the same request if it is not complete."""
        since = clock.to_micros(clock.now() - _CONTINUED)
        stopped = await self._read(queries.find_unfinished_reconciliation, self._database, SHIP24, _dump(request), since)
        if stopped is not None:
            return stopped._replace(problem=None)  # type: ignore[no-any-return]
        return await self._add(SHIP24, request, make_entry)

    async def begin_exports(self, exports: Sequence[PackageExport], make_entry: MakeEntry, *, dry_run: bool) -> ReconciliationRow:
        """Return a new run of Shiipp: what an earlier one brought in is known by now."""
        files = tuple(export.name for export in exports)
        return await self._add(SHIIPP, ReconcileRequest(files=files, dry_run=dry_run), make_entry)

    async def _add(self, source: str, request: ReconcileRequest, make_entry: MakeEntry) -> ReconciliationRow:
        now, written = clock.now(), _dump(request)
        entry, moment = make_entry(now, ACTION, source, written), clock.to_micros(now)
        row = _write(
            ReconciliationRow(clock.new_id(now), source, entry.actor, moment, moment, None, None, written, "", ""),
            ReconcileProgress(Position(), ReconcileReport()),
        )
        await self._do(AddAuditEntry(entry))
        await self._do(SaveReconciliation(row))
        return row

    async def run(
        self, row: ReconciliationRow, api: Ship24Api, make_entry: MakeEntry, should_stop: Callable[[], bool], show: Show
    ) -> ReconciliationRow:
        """Do the work from where the run is; return it with its end, or as far as it came if it was stopped.

        `show` gets the run after each tracker. An error of the vendor or the database stops the run: `problem` names it.
        """
        request = ReconcileRequest.from_json(orjson.loads(row.request))
        progress = ReconcileProgress(Position(**orjson.loads(row.position)), ReconcileReport.from_json(orjson.loads(row.report)))

        async def work(save: Save) -> ReconcileProgress | None:
            found = Ship24Reconciliation(api, self._database, self._read, self.deliveries, make_entry, save)
            return await found.run(request, progress, should_stop)

        return await self._work(row, work, show)

    async def run_exports(
        self,
        row: ReconciliationRow,
        exports: Sequence[PackageExport],
        make_entry: MakeEntry,
        should_stop: Callable[[], bool],
        show: Show,
    ) -> ReconciliationRow:
        """Compare exports of Shiipp, as `run` does trackers of Ship24. `show` gets the run after each group of rows."""
        request = ReconcileRequest.from_json(orjson.loads(row.request))

        async def work(save: Save) -> ReconcileProgress | None:
            found = ShiippReconciliation(self._database, self._read, self.deliveries, self._new_package, make_entry, save)
            return await found.run(exports, ReconcileReport(), should_stop, dry_run=request.dry_run)

        return await self._work(row, work, show)

    async def _work(
        self, row: ReconciliationRow, work: Callable[[Save], Awaitable[ReconcileProgress | None]], show: Show
    ) -> ReconciliationRow:
        """Do the work of a run and save its progress; return it with its end, or as far as it came if it was stopped."""
        current = row

        async def save(progress: ReconcileProgress) -> None:
            nonlocal current
            current = _write(current, progress)
            await self._do(SaveReconciliation(current))
            show(current)

        try:
            done = await work(save)
        except ReceiverError as error:
            current = current._replace(problem=error.message)
            await self._do(SaveReconciliation(current))
            raise
        if done is not None:
            current = _write(current, done)._replace(ended_at=clock.to_micros(clock.now()))
            await self._do(SaveReconciliation(current))
        return current

    async def read_files(self, roots: Sequence[object], make_entry: MakeEntry, *, dry_run: bool) -> ReconcileReport:
        """Bring in the messages of downloaded histories; return the report. Raises UnexpectedShape for another file."""
        work = Ship24Reconciliation(None, self._database, self._read, self.deliveries, make_entry, _save_nothing)
        report = ReconcileReport()
        for root in roots:
            await work.read_file(root, report, dry_run=dry_run)
        return report


async def _save_nothing(_progress: ReconcileProgress) -> None:
    """Save nothing: files are read again as a whole."""


def _dump(request: ReconcileRequest) -> str:
    return orjson.dumps(request.as_json(), option=orjson.OPT_SORT_KEYS).decode()


def _write(row: ReconciliationRow, progress: ReconcileProgress) -> ReconciliationRow:
    position = orjson.dumps(progress.position._asdict()).decode()
    report = orjson.dumps(progress.report.as_json()).decode()
    return row._replace(updated_at=clock.to_micros(clock.now()), position=position, report=report)
