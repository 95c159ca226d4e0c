"""Find the messages of Ship24 that never came, and bring them in.

For each tracker the vendor's results are compared with the events here. Only where events are missing, the webhook history is
asked for, at a tenth of the rate: it has the messages themselves. An event that is not in the history either is built from the
results. A proof of delivery is in the history alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

import structlog

from receiver import clock
from receiver.domain.imports import ImportRequest
from receiver.domain.reconciliation import ReconcileProgress, ReconcileReport, ReconcileRequest
from receiver.errors import ReceiverError, StorageUnavailable, Unreadable, VendorUnavailable
from receiver.maintenance.bring_in import DeliveryImport
from receiver.maintenance.execution import MakeEntry, RunQuery
from receiver.maintenance.reconcile.ship24_api import Ship24Api
from receiver.maintenance.reconcile.ship24_choice import TrackerChoice
from receiver.sources.ship24_recovery import (
    HistoryEntry,
    Results,
    WebhookHistory,
    build_body,
    name_built,
    read_history,
    read_results,
)
from receiver.storage.database import Database
from receiver.storage.queries import reconciliation as queries

_PAGE = 500  # messages in one question
_BUILT_EVENTS = 100  # in one body
_MAX_FAILED_IN_A_ROW = 5
_FROM_HISTORY = "From the webhook history of Ship24."
_COMPLETED = "From the webhook history of Ship24, which left out ids; they are made of the content."
_FROM_RESULTS = (
    "Built from the results of Ship24: its history does not have the message. The message id is made of tracker and event."
)

_log = structlog.get_logger()


class Ship24Reconciliation:
    """Compares trackers with the vendor's. `read` runs a query; `save` stores the progress after each tracker.

    `api` may be None where only history files are read.
    """

    def __init__(
        self,
        api: Ship24Api | None,
        database: Database,
        read: RunQuery,
        deliveries: DeliveryImport,
        make_entry: MakeEntry,
        save: Callable[[ReconcileProgress], Awaitable[None]],
    ) -> None:
        self._api = api
        self._database = database
        self._read = read
        self._deliveries = deliveries
        self._make_entry = make_entry
        self._save = save
        self._choice = TrackerChoice(api, database, read)
        self._failed_in_a_row = 0
        self._erased: frozenset[str] = frozenset()

    async def run(
        self, request: ReconcileRequest, progress: ReconcileProgress, should_stop: Callable[[], bool]
    ) -> ReconcileProgress | None:
        """Look at all trackers of the request, from the position on; return the progress at the end, None if it was stopped.

        Raises VendorRefused, VendorUnavailable after several trackers in a row, or StorageUnavailable. What was done is saved.
        """
        await self.read_erased()
        async for tracker_id, position in self._choice.choose(request, progress.position):
            if should_stop():
                return None
            await self.look_at(tracker_id, request, progress.report)
            progress = progress._replace(position=position)
            await self._save(progress)
        return progress

    async def read_file(self, root: object, report: ReconcileReport, *, dry_run: bool) -> None:
        """Bring in the messages of a downloaded history. One with messages that cannot be read counts as failed.

        Raises UnexpectedShape.
        """
        await self.read_erased()
        history = await asyncio.to_thread(read_history, root, self._erased)
        report.examined += 1
        entries = await self._find_new(history)
        before, missing = report.messages, sum(len(entry.message_ids) for entry in entries)
        report.events += len(await self._bring_in_entries(entries, history, report, dry_run=dry_run))
        found = report.messages - before
        if found < missing or history.unreadable:
            report.failed.add(history.tracker_id or "?")
        if found:
            report.repaired.add(history.tracker_id or "?")
        elif not missing and not history.unreadable:
            report.complete += 1

    async def read_erased(self) -> None:
        """Read which trackers were erased: their personal data must not come back."""
        self._erased = await self._read(queries.find_erased_trackers, self._database)

    async def look_at(self, tracker_id: str, request: ReconcileRequest, report: ReconcileReport) -> bool:
        """Compare one tracker, and repair it; return whether the vendor still tracks it, as far as is known.

        A vendor that fails for one tracker does not hold up the others. Raises VendorUnavailable after several in a row.
        An erased tracker is left out; call `read_erased` before.
        """
        assert self._api is not None
        if tracker_id in self._erased:
            return False
        try:
            results = await asyncio.to_thread(_ask_for_results, self._api, tracker_id)
        except (VendorUnavailable, Unreadable) as error:
            self._note_failure(tracker_id, error, report)
            return True
        self._failed_in_a_row = 0
        report.examined += 1
        if results is None:
            report.unknown.add(tracker_id)
            return False
        known = await self._read(queries.find_known_events, self._database, tracker_id)
        if known.difference(results.events):
            report.only_here.add(tracker_id)
        missing = await self._leave_out_built(tracker_id, [name for name in results.events if name not in known])
        if not missing:
            report.complete += 1
        elif request.resend:
            await self._ask_again(tracker_id, request, report)
        else:
            await self._repair(tracker_id, results, missing, report, dry_run=request.dry_run)
        return results.is_tracked

    def _note_failure(self, tracker_id: str, error: ReceiverError, report: ReconcileReport) -> None:
        report.failed.add(tracker_id)
        _log.warning("reconcile_tracker_failed", tracker=tracker_id, cause=error.message)
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= _MAX_FAILED_IN_A_ROW:
            raise VendorUnavailable(f"{error.message} {self._failed_in_a_row} trackers in a row could not be looked at.")

    async def _leave_out_built(self, tracker_id: str, event_ids: Sequence[str]) -> list[str]:
        """Return the events without those that were built before: one may be in quarantine, whatever is known of its id."""
        names = {name_built(tracker_id, event_id): event_id for event_id in event_ids}
        known = await self._find_known(names)
        return [event_id for name, event_id in names.items() if name not in known]

    async def _ask_again(self, tracker_id: str, request: ReconcileRequest, report: ReconcileReport) -> None:
        assert self._api is not None
        number = 0 if request.dry_run else await asyncio.to_thread(self._api.resend, tracker_id)
        report.messages += number or 0
        report.resent.add(tracker_id)

    async def _repair(
        self, tracker_id: str, results: Results, missing: Sequence[str], report: ReconcileReport, *, dry_run: bool
    ) -> None:
        history = await self._read_history(tracker_id)
        entries = [] if history is None else await self._find_new(history)
        found: set[tuple[str, str]] = set()
        if history is not None and entries:
            found = await self._bring_in_entries(entries, history, report, dry_run=dry_run)
        else:
            report.without_history.add(tracker_id)
        left = [event_id for event_id in missing if (tracker_id, event_id) not in found]
        built = await self._build(results, left, dry_run=dry_run)
        report.messages += built
        report.events += len(missing) - len(left) + built
        report.built_events += built
        (report.repaired if built == len(left) else report.failed).add(tracker_id)
        _log.warning("reconcile_found", tracker=tracker_id, events=len(missing), built=built, dry_run=dry_run)

    async def _build(self, results: Results, event_ids: Sequence[str], *, dry_run: bool) -> int:
        """Bring in events that only the results have; return their number."""
        built = 0
        for first in range(0, len(event_ids), _BUILT_EVENTS):
            piece = event_ids[first : first + _BUILT_EVENTS]
            try:
                body = build_body(results, piece, clock.to_micros(clock.now()))
            except Unreadable as error:
                _log.warning("reconcile_body_failed", cause=error.message)
                continue
            if await self._bring_in(body, None, _FROM_RESULTS, dry_run=dry_run):
                built += len(piece)
        return built

    async def _read_history(self, tracker_id: str) -> WebhookHistory | None:
        assert self._api is not None
        try:
            history = await asyncio.to_thread(_ask_for_history, self._api, tracker_id, self._erased)
        except (VendorUnavailable, Unreadable) as error:
            _log.warning("reconcile_history_failed", tracker=tracker_id, cause=error.message)
            return None
        if history is not None and history.unreadable:
            _log.warning("reconcile_messages_unreadable", tracker=tracker_id, messages=history.unreadable)
        return history

    async def _find_new(self, history: WebhookHistory) -> list[HistoryEntry]:
        """Return the entries of a history with messages that are not known here, oldest first; `message_ids` are those."""
        known = await self._find_known(name for entry in history.entries for name in entry.message_ids)
        events: dict[str, set[str]] = {}
        found = []
        for entry in history.entries:
            if entry.message_ids <= known:
                continue
            if entry.is_exact or not entry.event_ids or not await self._are_known(entry.event_ids, events):
                found.append(entry._replace(message_ids=entry.message_ids - known))
        return found

    async def _find_known(self, message_ids: Iterable[str]) -> set[str]:
        names, known = sorted(set(message_ids)), set()
        for first in range(0, len(names), _PAGE):
            known |= await self._read(queries.find_known_messages, self._database, names[first : first + _PAGE])
        return known

    async def _are_known(self, event_ids: Collection[tuple[str, str]], read: dict[str, set[str]]) -> bool:
        """Tell whether all events are known here. `read` has the known events of the trackers that were asked for."""
        for tracker_id in {tracker_id for tracker_id, _ in event_ids} - read.keys():
            read[tracker_id] = await self._read(queries.find_known_events, self._database, tracker_id)
        return all(event_id in read[tracker_id] for tracker_id, event_id in event_ids)

    async def _bring_in_entries(
        self, entries: Sequence[HistoryEntry], history: WebhookHistory, report: ReconcileReport, *, dry_run: bool
    ) -> set[tuple[str, str]]:
        """Bring in messages; return their events."""
        found: set[tuple[str, str]] = set()
        for entry in entries:
            remark = _FROM_HISTORY if entry.is_exact else _COMPLETED
            if not await self._bring_in(entry.body, entry.sent_at, remark, dry_run=dry_run):
                continue
            found |= entry.event_ids
            report.messages += len(entry.message_ids)
            if entry.is_delivered:
                report.delivered_elsewhere += len(entry.message_ids)
                report.note_url(history.webhook_url)
        return found

    async def _bring_in(self, body: bytes, sent_at: int | None, remark: str, *, dry_run: bool) -> bool:
        """Bring in a body; return whether it could be read. What fails of one body does not end the work on the others."""
        request = ImportRequest("ship24", None, body, sent_at, dry_run, "reconcile", remark=remark)
        try:
            await self._deliveries.bring_in(self._make_entry, request)
        except StorageUnavailable:
            raise
        except ReceiverError as error:
            _log.warning("reconcile_body_failed", cause=error.message)
            return False
        return True


def _ask_for_results(api: Ship24Api, tracker_id: str) -> Results | None:
    answer = api.read_results(tracker_id)
    return None if answer is None else read_results(answer, tracker_id)


def _ask_for_history(api: Ship24Api, tracker_id: str, erased: Collection[str]) -> WebhookHistory | None:
    """Ask for a history and read it: it may be large, and the event loop has other work."""
    answer = api.read_history(tracker_id)
    return None if answer is None else read_history(answer, erased)
