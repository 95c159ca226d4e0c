"""Queries for trackers: lists by the last change, search, one tracker with its timeline."""

from collections.abc import Sequence
from functools import cmp_to_key
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, FromClause, RowMapping, and_, select

from receiver.domain.changes import Subscription
from receiver.domain.corrections import EventVersion, explain_correction, sort_versions
from receiver.domain.newer import EventTime, compare_times
from receiver.domain.occurrence import read_occurrence, to_sortable_micros
from receiver.domain.trimming import trim
from receiver.errors import Ambiguous, NotFound, UnexpectedShape
from receiver.storage.database import Database
from receiver.storage.queries.changes import read_changes
from receiver.storage.queries.manifests import add_manifests, is_in_final_manifest
from receiver.storage.queries.movements import list_by_movement
from receiver.storage.queries.packages import count_packages, list_packages
from receiver.storage.queries.pages import ResultPage, as_stored, in_range, is_storable, public
from receiver.storage.queries.search import search_by_ending, search_trackers
from receiver.storage.queries.states import TrackerFilter
from receiver.storage.queries.undelivered import list_undelivered
from receiver.storage.tables.ledger import LinkTable, TrackerTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.revisions import every_version

MAX_EVENTS = 1000
"""The maximum number of events of a timeline (the last to arrive), and of packages of a manifest."""


def list_trackers(database: Database, wanted: TrackerFilter, limit: int = 50, cursor: str | None = None) -> ResultPage:
    """Return trackers, those that changed last first.

    The results of a search are in the order of their matching terms, and those of a manifest or a customer in that of their ids.
    Those that a target did not get are in the order of source and id.
    """
    term = None if wanted.search is None else as_stored(wanted.search).casefold()
    if not is_storable(term, wanted.source, wanted.milestone, wanted.manifest, wanted.customer, wanted.not_delivered_to):
        return ResultPage([], None)
    wanted = wanted._replace(
        moved_before=in_range(wanted.moved_before),
        moved_after=in_range(wanted.moved_after),
        stuck_since=in_range(wanted.stuck_since),
    )
    if wanted.sort == "oldest" and wanted.has_own_order():
        raise UnexpectedShape("sort: not with q, manifest, customer or not_delivered_to, which have an order of their own.")
    with database.read() as connection:
        if term is not None:
            page = search_trackers(connection, wanted, term, limit, cursor)
        elif wanted.manifest is not None or wanted.customer is not None:
            page = list_packages(connection, wanted, limit, cursor)
        elif wanted.not_delivered_to is not None:
            page = list_undelivered(connection, wanted, limit, cursor)
        else:
            page = list_by_movement(connection, wanted, limit, cursor)
        items = add_manifests(connection, page.items)
    if wanted.stuck_since is not None:
        items = [item for item in items if not is_in_final_manifest(item)]
    return page._replace(items=items)


def list_by_ending(database: Database, ending: str, limit: int) -> list[dict[str, Any]]:
    """Return trackers whose number, ID or reference ends with at least six characters; upper or lower case."""
    if not is_storable(ending):
        return []
    with database.read() as connection:
        return add_manifests(connection, search_by_ending(connection, ending.casefold(), limit))


def find_tracker(
    database: Database, text: str, sources: Sequence[str], source: str | None = None, *, is_whole: bool = False
) -> tuple[str, str]:
    """Return the source and the ID of the tracker that a text names: SOURCE/ID, or a number, an ID or a reference.

    If none is equal, the text may be the beginning of one, unless `is_whole`. Raises NotFound if there is no such tracker, and
    Ambiguous if there are several; with `source`, only its trackers count.
    """
    prefix, _, tracker_id = (trim(part) for part in text.partition("/"))
    if prefix in sources and tracker_id:
        return prefix, as_stored(tracker_id)
    found = list_trackers(database, TrackerFilter(text, source, exact=True)).items
    if not found and not is_whole:
        page = list_trackers(database, TrackerFilter(text, source))
        found = page.items if page.next is None or len(page.items) > 1 else []  # the next page may have another one
    if not found:
        raise NotFound(f"No tracker has the number, ID or reference {text}.")
    if len(found) > 1:
        raise Ambiguous.among(text, "trackers", [f"{row['source']}/{row['tracker_id']}" for row in found])
    return found[0]["source"], found[0]["tracker_id"]


def show_tracker(database: Database, source: str, tracker_id: str, subscriptions: Sequence[Subscription] = ()) -> dict[str, Any]:
    """Return a tracker, its events, newest occurrence first, and its changes with their states (`read_changes`).

    Raises NotFound.
    """
    trackers, events = table_of(TrackerTable), every_version()
    if not is_storable(source, tracker_id):
        raise NotFound("There is no tracker with this id.")
    tracker_id = as_stored(tracker_id)
    with database.read() as connection:
        state = connection.execute(select(trackers).where(_is(trackers, source, tracker_id))).mappings().first()
        if state is None:
            raise NotFound(f"There is no tracker {tracker_id} of {source}.")
        last_arrived = select(events).where(_is(events, source, tracker_id)).order_by(events.c.received_at.desc())
        timeline = _drop_repeated(connection.execute(last_arrived.limit(MAX_EVENTS)).mappings().all())
        (tracker,) = add_manifests(connection, [public(state)])
        packages = {
            "packages": _read_packages(connection, source, tracker_id),
            "package_states": count_packages(connection, source, tracker_id),
        }
        changes = read_changes(connection, source, tracker_id, subscriptions, is_test=state["test_run"] is not None)
    shipment = orjson.loads(state["shipment"]) if state["shipment"] else None
    tracker |= {"shipment": shipment, **packages}
    return {"tracker": tracker, "events": _describe_events(_newest_first(timeline)), "changes": changes}


def _read_packages(connection: Connection, source: str, manifest_id: str) -> list[str]:
    """Return the packages of a manifest."""
    links = table_of(LinkTable)
    packages = select(links.c.package).where(links.c.source == source, links.c.manifest == manifest_id)
    return [str(package) for package in connection.execute(packages.order_by(links.c.package).limit(MAX_EVENTS)).scalars()]


def _drop_repeated(rows: Sequence[RowMapping]) -> list[RowMapping]:
    """Leave out superseded versions whose content is current again."""
    current = {(row["event_id"], row["digest"]) for row in rows if not row["superseded"]}
    return [row for row in rows if not row["superseded"] or (row["event_id"], row["digest"]) not in current]


def _describe_events(rows: Sequence[RowMapping]) -> list[dict[str, Any]]:
    """Return events as the API shows them. Each version of a corrected event has all its `versions`, and why one counts."""
    versions: dict[str, list[EventVersion]] = {}
    for row in rows:
        names = (row["stands_by"] or row["message_id"], row["generated_at"] or 0, row["received_at"])
        version = EventVersion(*names, row["occurrence"], row["status"], bool(row["superseded"]))
        versions.setdefault(row["event_id"], []).append(version)
    described = []
    for row in rows:
        own = sort_versions(versions[row["event_id"]])
        corrected = {"versions": [version.as_json() for version in own] if len(own) > 1 else []}
        described.append({**public(row), **corrected, "correction": explain_correction(own)})
    return described


def _is(table: FromClause, source: str, tracker_id: str) -> ColumnElement[bool]:
    return and_(table.c.source == source, table.c.tracker_id == tracker_id)


def _newest_first(events: Sequence[RowMapping]) -> list[RowMapping]:
    """Sort by the rule for "newer"; in a tie, the event that arrived last comes first.

    By that rule a bare date equals any time of its day, so it cannot sort the events alone. Therefore they are sorted by their
    instants first, and the second sort is stable.
    """

    def time_of(row: RowMapping) -> EventTime:
        return EventTime(read_occurrence(row["occurrence"]), row["order"])

    def newer_first(one: RowMapping, other: RowMapping) -> int:
        return compare_times(time_of(other), time_of(one))

    def by_instant(row: RowMapping) -> tuple[int, int, str]:
        return to_sortable_micros(row["occurrence"]) or 0, row["received_at"], row["event_id"]

    return sorted(sorted(events, key=by_instant, reverse=True), key=cmp_to_key(newer_first))
