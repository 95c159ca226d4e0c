"""Lists of packages: those of a manifest and those of a customer, in the order of their ids, and counts of a manifest's packages.

An index has the packages of a manifest (`links`) and those of a customer (`terms`) in this order.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, func, select

from receiver.storage.queries.pages import ResultPage, public, read_cursor, write_cursor
from receiver.storage.queries.states import PACKAGE_SOURCE, TrackerFilter, conditions
from receiver.storage.statements import chunks
from receiver.storage.tables.ledger import LinkTable, SearchTermTable, TrackerTable
from receiver.storage.tables.metadata import table_of

_SEEN_PACKAGES = 3000  # that one page reads if the other conditions hold for few
_AT_ONCE = 250


def list_packages(connection: Connection, wanted: TrackerFilter, limit: int, cursor: str | None) -> ResultPage:
    """Return the packages of the manifest or the customer that the filter names. Raises UnexpectedShape for an invalid cursor."""
    (after,) = read_cursor(cursor, str) or ("",)
    ids = list(connection.execute(_select_ids(wanted, after).limit(_SEEN_PACKAGES)).scalars())
    items: list[dict[str, Any]] = []
    for some in chunks(ids, _AT_ONCE):
        if len(items) <= limit:
            items += _read_packages(connection, wanted, some)
    if len(items) > limit:
        return ResultPage(items[:limit], write_cursor(items[limit - 1]["tracker_id"]))
    return ResultPage(items, write_cursor(ids[-1]) if len(ids) == _SEEN_PACKAGES else None)


def _select_ids(wanted: TrackerFilter, after: str) -> Select[Any]:
    """Select the ids of the packages of the manifest or, if the filter names none, of the trackers with the customer's code."""
    if wanted.manifest is not None:
        links = table_of(LinkTable)
        of_manifest = links.c.source == PACKAGE_SOURCE, links.c.manifest == wanted.manifest
        return select(links.c.package).where(*of_manifest, links.c.package > after).order_by(links.c.package)
    terms = table_of(SearchTermTable)
    of_term = terms.c.term == (wanted.customer or "").casefold(), terms.c.source == PACKAGE_SOURCE
    return select(terms.c.tracker_id).where(*of_term, terms.c.tracker_id > after).order_by(terms.c.tracker_id)


def _read_packages(connection: Connection, wanted: TrackerFilter, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the packages with these ids for which the other conditions hold."""
    trackers = table_of(TrackerTable)
    named = trackers.c.source == PACKAGE_SOURCE, trackers.c.tracker_id.in_(ids)
    statement = select(trackers).where(*named, *conditions(wanted._replace(manifest=None)))
    until = wanted.until()
    if until is not None:
        statement = statement.where(trackers.c.moved_at < until)
    found = {row["tracker_id"]: public(row) for row in connection.execute(statement).mappings()}
    return [found[one] for one in ids if one in found]


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
