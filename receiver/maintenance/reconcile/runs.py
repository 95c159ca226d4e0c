"""Runs of a reconciliation: begun, continued where the last one stopped, and saved after each tracker."""

from collections.abc import Callable
from datetime import timedelta

import orjson

from receiver import clock
from receiver.domain.reconciliation import Position, ReconcileReport, ReconcileRequest
from receiver.domain.rows import ReconciliationRow
from receiver.errors import ReceiverError
from receiver.maintenance.bring_in import DeliveryImport
from receiver.maintenance.execution import MakeEntry, RunQuery
from receiver.maintenance.reconcile.ship24 import ReconcileProgress, Ship24Reconciliation
from receiver.maintenance.reconcile.ship24_api import Ship24Api
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


class ReconcileRuns:
    """Runs reconciliations. `do` executes a command, `read` a query, `deliveries` brings in bodies."""

    def __init__(self, do: Do, read: RunQuery, database: Database, deliveries: DeliveryImport) -> None:
        self._do = do
        self._read = read
        self._database = database
        self.deliveries = deliveries

    async def begin(self, request: ReconcileRequest, make_entry: MakeEntry) -> ReconciliationRow:
        """Return a new run, or the last one with the same request if it is not complete."""
        now = clock.now()
        written = orjson.dumps(request.as_json(), option=orjson.OPT_SORT_KEYS).decode()
        since = clock.to_micros(now - _CONTINUED)
        stopped = await self._read(queries.find_unfinished_reconciliation, self._database, SHIP24, written, since)
        if stopped is not None:
            return stopped._replace(problem=None)  # type: ignore[no-any-return]
        entry, moment = make_entry(now, ACTION, SHIP24, written), clock.to_micros(now)
        row = _write(
            ReconciliationRow(clock.new_id(now), SHIP24, entry.actor, moment, moment, None, None, written, "", ""),
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
        current = row

        async def save(progress: ReconcileProgress) -> None:
            nonlocal current
            current = _write(current, progress)
            await self._do(SaveReconciliation(current))
            show(current)

        work = Ship24Reconciliation(api, self._database, self._read, self.deliveries, make_entry, save)
        progress = ReconcileProgress(Position(**orjson.loads(row.position)), ReconcileReport.from_json(orjson.loads(row.report)))
        try:
            done = await work.run(ReconcileRequest.from_json(orjson.loads(row.request)), progress, should_stop)
        except ReceiverError as error:
            current = current._replace(problem=error.message)
            await self._do(SaveReconciliation(current))
            raise
        if done is not None:
            current = _write(current, done)._replace(ended_at=clock.to_micros(clock.now()))
            await self._do(SaveReconciliation(current))
        return current

    async def read_files(self, roots: list[object], make_entry: MakeEntry, *, dry_run: bool) -> ReconcileReport:
        """Bring in the messages of downloaded histories; return the report. Raises UnexpectedShape for another file."""
        work = Ship24Reconciliation(None, self._database, self._read, self.deliveries, make_entry, _save_nothing)
        report = ReconcileReport()
        for root in roots:
            await work.read_file(root, report, dry_run=dry_run)
        return report


async def _save_nothing(_progress: ReconcileProgress) -> None:
    """Save nothing: files are read again as a whole."""


def _write(row: ReconciliationRow, progress: ReconcileProgress) -> ReconciliationRow:
    position = orjson.dumps(progress.position._asdict()).decode()
    report = orjson.dumps(progress.report.as_json()).decode()
    return row._replace(updated_at=clock.to_micros(clock.now()), position=position, report=report)
