"""The trackers of Ship24 that a reconciliation looks at, in an order that can be continued."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from receiver.domain.reading import read_id
from receiver.domain.reconciliation import OURS, VENDORS, Position, ReconcileRequest
from receiver.maintenance.execution import RunQuery
from receiver.maintenance.reconcile.ship24_api import PAGE_TRACKERS, Ship24Api
from receiver.sources.ship24_recovery import read_moment
from receiver.storage.database import Database
from receiver.storage.queries import reconciliation as queries

_PAGE = 500  # trackers of ours
_LATE_MICROS = 3600 * 1_000_000  # by which a clock, or the vendor, may be late


class TrackerChoice:
    """Lists trackers: those of ours, then those that only the vendor knows. `read` runs a query."""

    def __init__(self, api: Ship24Api | None, database: Database, read: RunQuery) -> None:
        self._api = api
        self._database = database
        self._read = read

    async def choose(self, request: ReconcileRequest, position: Position) -> AsyncIterator[tuple[str, Position]]:
        """Yield the trackers to look at, each with the position after it."""
        if position.part == OURS:
            async for tracker_id in self._list_ours(request, position.after):
                yield tracker_id, Position(OURS, tracker_id)
            position = Position(VENDORS)
        if request.since is None and not request.all_trackers:
            return
        async for found in self._list_vendors(request, position):
            yield found

    async def _list_ours(self, request: ReconcileRequest, after: str) -> AsyncIterator[str]:
        if request.trackers:
            for tracker_id in sorted(set(request.trackers)):
                if tracker_id > after:
                    yield tracker_id
            return
        while page := await self._read(queries.list_candidates, self._database, request.since, after, _PAGE):
            for tracker_id in page:
                yield tracker_id
            after = page[-1]

    async def _list_vendors(self, request: ReconcileRequest, position: Position) -> AsyncIterator[tuple[str, Position]]:
        """Yield the trackers that only the vendor knows: with a window, those that were created in it."""
        assert self._api is not None
        page, done = position.page, position.done_on_page
        while True:
            listed = await asyncio.to_thread(self._api.list_trackers, page)
            ids = [_read_own_id(tracker) for tracker in listed]
            known = await self._read(queries.find_known_trackers, self._database, [each for each in ids if each is not None])
            for number, (tracker_id, tracker) in enumerate(zip(ids, listed, strict=True), 1):
                if number > done and tracker_id is not None and tracker_id not in known and _is_wanted(tracker, request):
                    yield tracker_id, Position(VENDORS, page=page, done_on_page=number)
            if len(listed) < PAGE_TRACKERS:
                return
            page, done = page + 1, 0


def _read_own_id(tracker: dict[str, Any]) -> str | None:
    """Return the id of a tracker as the vendor writes it, or None for one that cannot be asked for."""
    written = tracker.get("trackerId")
    return written if isinstance(written, str) and read_id(written) == written else None


def _is_wanted(tracker: dict[str, Any], request: ReconcileRequest) -> bool:
    """Tell whether the vendor sends messages of a tracker that only it knows, and whether it was created in the window."""
    if tracker.get("isSubscribed") is False:
        return False
    created_at = read_moment(tracker.get("createdAt"))
    if created_at is None or request.since is None:
        return True
    return request.since - _LATE_MICROS <= created_at and (request.until is None or created_at <= request.until)
