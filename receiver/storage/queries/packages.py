"""Lists of packages: those of a manifest and those of a customer, in the order of their ids, and counts of a manifest's packages.

An index leads to the packages of a manifest (`links`) and of a customer (`terms`), so the cost of a page grows with the packages
of that manifest or customer, not with all trackers.
"""

from typing import Any

from sqlalchemy import Connection, Select, and_, func, select

from receiver.storage.queries.pages import ResultPage, public, read_cursor, write_cursor
from receiver.storage.queries.states import TrackerFilter, conditions
from receiver.storage.tables.ledger import LinkTable, SearchTermTable, TrackerTable
from receiver.storage.tables.metadata import table_of


def list_packages(connection: Connection, wanted: TrackerFilter, limit: int, cursor: str | None) -> ResultPage:
    """Return the packages of the manifest or the customer that the filter names. Raises UnexpectedShape for an invalid cursor."""
    trackers = table_of(TrackerTable)
    (after,) = read_cursor(cursor, str) or ("",)
    statement = _select_named(wanted).where(*conditions(wanted), trackers.c.tracker_id > after)
    until = wanted.until()
    if until is not None:
        statement = statement.where(trackers.c.moved_at < until)
    rows = connection.execute(statement.order_by(trackers.c.tracker_id).limit(limit + 1)).mappings().all()
    items = [public(row) for row in rows[:limit]]
    return ResultPage(items, write_cursor(items[-1]["tracker_id"]) if len(rows) > limit else None)


def _select_named(wanted: TrackerFilter) -> Select[Any]:
    """Select the trackers that an index finds by the manifest, or else by the customer code."""
    trackers, links, terms = table_of(TrackerTable), table_of(LinkTable), table_of(SearchTermTable)
    statement = select(trackers)
    if wanted.manifest is not None:
        is_package = and_(links.c.source == trackers.c.source, links.c.package == trackers.c.tracker_id)
        return statement.join(links, is_package).where(links.c.source == "shiipp", links.c.manifest == wanted.manifest)
    is_named = and_(terms.c.source == trackers.c.source, terms.c.tracker_id == trackers.c.tracker_id)
    return statement.join(terms, is_named).where(terms.c.term == (wanted.customer or "").casefold(), terms.c.source == "shiipp")


def count_packages(connection: Connection, source: str, manifest_id: str) -> list[dict[str, Any]]:
    """Return the number of packages of a manifest at each milestone, most first; None for those without an event so far."""
    links, trackers = table_of(LinkTable), table_of(TrackerTable)
    is_package = and_(trackers.c.source == links.c.source, trackers.c.tracker_id == links.c.package)
    milestone, packages = trackers.c.status_milestone, func.count()
    statement = (
        select(milestone, packages.label("packages"))
        .join_from(links, trackers, is_package, isouter=True)
        .where(links.c.source == source, links.c.manifest == manifest_id)
        .group_by(milestone)
        .order_by(packages.desc(), milestone)
    )
    return [dict(row) for row in connection.execute(statement).mappings()]
