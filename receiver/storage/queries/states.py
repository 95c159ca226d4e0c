"""The filter of lists of trackers, and the rows of trackers."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, RowMapping, TextClause, exists, func, or_, select

from receiver.storage.tables.ledger import IS_TEST, MILESTONE_DIFFERS, LinkTable, TrackerTable
from receiver.storage.tables.metadata import Table, table_of
from receiver.storage.tables.outbox import DeadTable, DispatchTable

FINAL_MILESTONES = ("delivered", "completed")
"""The last milestones of Ship24's parcels and of Shiipp's manifests. No further events are expected after them."""


PACKAGE_SOURCE = "shiipp"
"""The source of packages and manifests. The trackers of all others are parcels."""


class TrackerFilter(NamedTuple):
    """The filter of a list of trackers: all conditions that are set must hold. Times are microseconds.

    `search` is the start of a number, an id or a reference (with `exact`, all of it), without case. `stuck_since`: the tracker
    has not changed since then, and neither the tracker nor the manifest that it is in is at a final milestone.
    `milestone_differs`: whether the sender's own milestone is another one. `test`: whether a test made the tracker. `manifest`
    is the id of the manifest that the package is in. `customer` is the code of its present customer in upper or lower case.
    `not_delivered_to`: a change of the tracker waits or fails for this target, or failed for good. `sort`, one of `pages.SORTS`,
    is by the last change.
    """

    search: str | None = None
    source: str | None = None
    milestone: str | None = None
    moved_before: int | None = None
    moved_after: int | None = None
    stuck_since: int | None = None
    exact: bool = False
    milestone_differs: bool | None = None
    test: bool | None = None
    manifest: str | None = None
    customer: str | None = None
    not_delivered_to: str | None = None
    sort: str = "newest"

    def has_own_order(self) -> bool:
        """Tell whether a condition gives the list another order than that of the last changes."""
        return (self.search, self.manifest, self.customer, self.not_delivered_to) != (None,) * 4

    def until(self) -> int | None:
        """Return the time before which the last change of a tracker must be."""
        return min((moment for moment in (self.moved_before, self.stuck_since) if moment is not None), default=None)


def conditions(wanted: TrackerFilter) -> list[ColumnElement[bool] | TextClause]:
    """Return the conditions on a tracker's row, without those for `search` and `until`."""
    table = table_of(TrackerTable)
    milestone = table.c.status_milestone
    found: list[ColumnElement[bool] | TextClause] = []
    if wanted.source is not None:
        found.append(table.c.source == wanted.source)
    if wanted.milestone is not None:
        found.append(milestone == wanted.milestone)
    if wanted.moved_after is not None:
        found.append(table.c.moved_at >= wanted.moved_after)
    if wanted.stuck_since is not None:
        found += [or_(milestone.is_(None), milestone.not_in(FINAL_MILESTONES)), ~table.c.manifest_completed]
    if wanted.milestone_differs:
        found.append(MILESTONE_DIFFERS)
    elif wanted.milestone_differs is not None:
        own_view = table.c.shipment_milestone
        found.append(or_(own_view.is_(None), milestone.is_(None), own_view == milestone))
    if wanted.test:
        found.append(IS_TEST)
    elif wanted.test is not None:
        found.append(table.c.test_run.is_(None))
    if wanted.not_delivered_to is not None:
        found.append(or_(*(_has_row(model, wanted.not_delivered_to) for model in (DispatchTable, DeadTable))))
    return found + _conditions_on_packages(wanted)


def _conditions_on_packages(wanted: TrackerFilter) -> list[ColumnElement[bool]]:
    """Return the conditions for the packages of a manifest and of a customer."""
    table, links = table_of(TrackerTable), table_of(LinkTable)
    found: list[ColumnElement[bool]] = []
    if wanted.manifest is not None or wanted.customer is not None:
        found.append(table.c.source == PACKAGE_SOURCE)
    if wanted.manifest is not None:
        is_linked = (links.c.source == table.c.source, links.c.package == table.c.tracker_id, links.c.manifest == wanted.manifest)
        found.append(exists(select(links.c.package).where(*is_linked).correlate(table)))
    if wanted.customer is not None:
        code = table.c.client_tracker_id  # SQLite changes the case of ASCII only
        same_code = or_(func.lower(code) == wanted.customer.lower(), code.in_([wanted.customer, wanted.customer.upper()]))
        found.append(same_code)
    return found


def _has_row(model: type[Table], target: str) -> ColumnElement[bool]:
    rows, trackers = table_of(model), table_of(TrackerTable)
    of_tracker = rows.c.source == trackers.c.source, rows.c.tracker_id == trackers.c.tracker_id
    return exists(select(rows.c.target).where(rows.c.target == target, *of_tracker).correlate(trackers))


def read_states(connection: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], RowMapping]:
    """Return the trackers with these keys (source and id)."""
    table = table_of(TrackerTable)
    found: dict[tuple[str, str], RowMapping] = {}
    for source in sorted({source for source, _ in keys}):
        ids = [tracker_id for of, tracker_id in keys if of == source]
        rows = connection.execute(select(table).where(table.c.source == source, table.c.tracker_id.in_(ids))).mappings()
        found |= {(source, row["tracker_id"]): row for row in rows}
    return found
