"""The manifests of packages. A package shows the status of the manifest that the latest message put it in."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, select

from receiver.storage.queries.pages import public
from receiver.storage.queries.states import FINAL_MILESTONES
from receiver.storage.tables.ledger import LinkTable, TrackerTable
from receiver.storage.tables.metadata import table_of

_COLUMNS = ("tracking_number", "status", "status_milestone", "latest_occurrence", "applied_at")


def add_manifests(connection: Connection, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return trackers with their manifests: None for a tracker without one, and only its id while nothing else is known."""
    manifests: dict[tuple[str, str], dict[str, Any]] = {}
    for source in {item["source"] for item in items}:
        manifests |= _read_manifests(connection, source, [item["tracker_id"] for item in items if item["source"] == source])
    return [{**item, "manifest": manifests.get((item["source"], item["tracker_id"]))} for item in items]


def is_in_final_manifest(item: Mapping[str, Any]) -> bool:
    """Tell whether a tracker is a package of a completed manifest.

    A receiver of an earlier version that still writes does not mark those packages.
    """
    return item["manifest"] is not None and item["manifest"]["status_milestone"] in FINAL_MILESTONES


def _read_manifests(connection: Connection, source: str, packages: list[str]) -> dict[tuple[str, str], dict[str, Any]]:
    links, trackers = table_of(LinkTable), table_of(TrackerTable)
    is_manifest = and_(trackers.c.source == links.c.source, trackers.c.tracker_id == links.c.manifest)
    statement = (
        select(links.c.package, links.c.manifest.label("tracker_id"), *(trackers.c[name] for name in _COLUMNS))
        .join_from(links, trackers, is_manifest, isouter=True)
        .where(links.c.source == source, links.c.package.in_(packages))
    )
    rows = [public(row) for row in connection.execute(statement).mappings()]
    return {(source, row.pop("package")): row for row in rows}
