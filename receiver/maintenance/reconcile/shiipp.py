"""Find the packages of Shiipp that never came, in exports of its Packages page, and bring them in.

A package is known if its id is, or its tracking number where bodies have no id. A known one is left as it is: only Shiipp's own
messages change it. The rows are compared, and brought in, in groups of a hundred: each group is one delivery and one transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

from receiver.domain.imports import ImportRequest
from receiver.domain.reconciliation import Position, ReconcileProgress, ReconcileReport
from receiver.errors import ReceiverError, StorageUnavailable
from receiver.maintenance.bring_in import DeliveryImport
from receiver.maintenance.execution import MakeEntry, RunQuery
from receiver.sources.field_paths import FieldPaths
from receiver.sources.shiipp_export import (
    BadRow,
    BuiltItem,
    ExportedManifest,
    ExportedPackage,
    PackageExport,
    build_item,
    is_by_number,
    write_body,
)
from receiver.storage.database import Database
from receiver.storage.queries import reconciliation, shiipp_known
from receiver.storage.queries.shiipp_known import KnownManifest, KnownPackage

SHIIPP = "shiipp"
_KIND = "new-package"
_GROUP = 100  # rows
_PAGE = 1000  # packages of ours


class ShiippReconciliation:
    """Compares exports with the packages here. `read` runs a query; `save` stores the progress after each group.

    `field_paths` are those of new packages in the settings.
    """

    def __init__(
        self,
        database: Database,
        read: RunQuery,
        deliveries: DeliveryImport,
        field_paths: FieldPaths,
        make_entry: MakeEntry,
        save: Callable[[ReconcileProgress], Awaitable[None]],
    ) -> None:
        self._database = database
        self._read = read
        self._deliveries = deliveries
        self._field_paths = field_paths
        self._make_entry = make_entry
        self._save = save
        self._here: set[str] = set()  # ids of trackers that the exports have, case-folded
        self._known_at: list[int] = []  # when the first and the last of them became known
        self._statuses: set[tuple[str, str]] = set()  # manifests, with statuses that were compared

    async def run(
        self, exports: Sequence[PackageExport], report: ReconcileReport, should_stop: Callable[[], bool], *, dry_run: bool
    ) -> ReconcileProgress | None:
        """Look at all rows; return the progress at the end, None if it was stopped. Raises StorageUnavailable."""
        erased = await self._read(reconciliation.find_erased_trackers, self._database, SHIIPP)
        last = await self._read(shiipp_known.find_last_package, self._database)
        by_number = last is not None and is_by_number(last)
        for export in exports:
            rows = export.read()
            while group := await asyncio.to_thread(list, islice(rows, _GROUP)):
                if should_stop():
                    return None
                for row in group:
                    if isinstance(row, BadRow):
                        report.failed.add(_describe(export, row.line, row.problem))
                packages = [row for row in group if isinstance(row, ExportedPackage) and erased.isdisjoint(row.tracker_ids)]
                await self._look_at(export, packages, report, by_number=by_number, dry_run=dry_run)
                await self._save(ReconcileProgress(Position(), report))
        await self._find_only_here(report)
        return ReconcileProgress(Position(), report)

    async def _look_at(
        self, export: PackageExport, packages: list[ExportedPackage], report: ReconcileReport, *, by_number: bool, dry_run: bool
    ) -> None:
        report.examined += len(packages)
        manifests = await self._find_manifests(packages, report)
        missing: list[BuiltItem] = []
        unreadable = 0
        for package in await self._leave_out_known(packages):
            try:
                manifest_id = None if package.manifest is None else manifests.get(package.manifest)
                item = build_item(package, self._field_paths, manifest_id, by_number=by_number)
            except ValueError as error:
                report.failed.add(_describe(export, package.line, str(error)))
                unreadable += 1
                continue
            if item.tracker_id.casefold() not in self._here:  # the row before may be the same package
                missing.append(item)
                self._here.add(item.tracker_id.casefold())
        report.complete += len(packages) - len(missing) - unreadable
        if missing:
            await self._bring_in(export, missing, report, dry_run=dry_run)

    async def _leave_out_known(self, packages: Sequence[ExportedPackage]) -> list[ExportedPackage]:
        """Return the packages that are not known here; remember those that are."""
        ids = sorted({tracker_id for package in packages for tracker_id in package.tracker_ids})
        numbers = {package.number for package in packages if package.package_id is None and package.number is not None}
        found: list[KnownPackage] = await self._read(shiipp_known.find_packages, self._database, ids, numbers)
        messages = {package.message_id for package in packages if package.message_id is not None}
        quarantined = await self._read(reconciliation.find_known_messages, self._database, messages, SHIIPP)
        by_id = {known.tracker_id: known for known in found}
        by_name = {(known.number or "").casefold(): known for known in found}
        unknown = []
        for package in packages:
            known = next((by_id[name] for name in package.tracker_ids if name in by_id), None)
            if known is None and package.package_id is None:
                known = by_name.get((package.number or "").casefold())
            if known is not None:
                self._note(known)
            elif package.message_id not in quarantined:
                unknown.append(package)
        return unknown

    def _note(self, known: KnownPackage) -> None:
        self._here.add(known.tracker_id.casefold())
        if not known.is_brought_in:
            times = [*self._known_at, known.created_at]
            self._known_at = [min(times), max(times)]

    async def _find_manifests(self, packages: Sequence[ExportedPackage], report: ReconcileReport) -> dict[ExportedManifest, str]:
        """Compare the statuses of manifests; return the ids of those that have an id here, and only a number in the export."""
        manifests = {package.manifest: None for package in packages if package.manifest is not None}
        if not manifests:
            return {}
        numbers = {manifest.number for manifest in manifests if manifest.number is not None}
        ids = [f"manifest:{manifest.manifest_id}" for manifest in manifests if manifest.manifest_id is not None]
        found: list[KnownManifest] = await self._read(shiipp_known.find_manifests, self._database, ids, numbers)
        by_id = {known.tracker_id: known for known in found}
        by_number = {(known.number or "").casefold(): known for known in found}
        named: dict[ExportedManifest, str] = {}
        for manifest in manifests:
            known = by_id.get(f"manifest:{manifest.manifest_id}") or by_number.get((manifest.number or "").casefold())
            self._compare(manifest, known, report)
            if known is not None and manifest.manifest_id is None and known.tracker_id != f"manifest:{manifest.number}":
                named[manifest] = known.tracker_id.removeprefix("manifest:")
        return named

    def _compare(self, manifest: ExportedManifest, known: KnownManifest | None, report: ReconcileReport) -> None:
        """Note a manifest whose status differs. One that is still a draft need not be known: its status did not change."""
        name, theirs = manifest.number or manifest.manifest_id or "", manifest.status
        if theirs is None or (name, theirs) in self._statuses:
            return
        self._statuses.add((name, theirs))
        ours = None if known is None else known.status
        if (ours or "draft").casefold() != theirs.casefold():
            report.differing.add(f"{name}: {theirs} in the export, {ours or 'unknown'} here")

    async def _bring_in(
        self, export: PackageExport, missing: Sequence[BuiltItem], report: ReconcileReport, *, dry_run: bool
    ) -> None:
        """Bring in packages as one delivery; if it cannot be stored, each by itself."""
        first, last = missing[0].line, missing[-1].line
        place = f"line {first}" if first == last else f"lines {first} to {last}"
        remark = f"From the packages export of Shiipp: {export.name}, {place}."
        request = ImportRequest(SHIIPP, _KIND, write_body(missing), None, dry_run, "reconcile", remark=remark)
        try:
            imported = await self._deliveries.bring_in(self._make_entry, request)
        except StorageUnavailable:
            raise
        except ReceiverError as error:
            if len(missing) == 1:
                report.failed.add(_describe(export, first, error.message))
                return
            for item in missing:
                await self._bring_in(export, [item], report, dry_run=dry_run)
            return
        for item, (_, verdict) in zip(missing, imported.receipt.messages, strict=True):
            if verdict.outcome == "quarantined":
                report.failed.add(_describe(export, item.line, f"in quarantine: {verdict.detail or verdict.reason}"))
            elif verdict.outcome == "duplicate":  # another process was first
                report.complete += 1
            else:
                report.messages += 1
                report.events += 1
                report.repaired.add(item.tracker_id)

    async def _find_only_here(self, report: ReconcileReport) -> None:
        """Note the packages that became known while those of the exports did, and that no export has."""
        after = ""
        while self._known_at:
            page = await self._read(shiipp_known.list_packages_between, self._database, *self._known_at, after, _PAGE)
            for tracker_id in page:
                if tracker_id.casefold() not in self._here:
                    report.only_here.add(tracker_id)
            if len(page) < _PAGE:
                return
            after = page[-1]


def _describe(export: PackageExport, line: int, problem: str) -> str:
    return f"{export.name}, line {line}: {problem.rstrip('.')}"
