"""Packages of completed manifests: the column `manifest_completed` of their trackers, so that an index leads to all others.

The column follows from the link of a package and the milestone of that manifest. So it is written again whenever one of these, or
a new package, is written. It is no field of `TrackerRow`: no decision needs or changes it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import ColumnElement, Connection, and_, exists, select, update

from receiver.domain.batch import BatchState
from receiver.domain.rows import TrackerRow
from receiver.domain.timelines import TrackerKey
from receiver.storage.database import Database
from receiver.storage.postgresql import lock_packages
from receiver.storage.queries.states import FINAL_MILESTONES
from receiver.storage.statements import chunks
from receiver.storage.tables.ledger import LinkTable, TrackerTable
from receiver.storage.tables.metadata import table_of

_KEYS = 500  # in one statement


def lock_completions(connection: Connection, database: Database) -> None:
    """Let only one transaction at a time write links, milestones of manifests and new packages. Lock trackers only after it.

    The race: one process completes a manifest while another one puts a package into it. Neither sees the rows of the other, and
    the rows may be new, so that they cannot be locked. A SQLite file is locked already.
    """
    if not database.has_one_writer:
        lock_packages(connection)


def mark_batch(connection: Connection, batch_state: BatchState, changed: Sequence[TrackerRow]) -> None:
    """Mark the packages that a batch concerns: new ones, linked ones, and those of manifests that changed."""
    new = {(row.source, row.tracker_id) for row in changed if row.subject == "package" and row.version == 1}
    mark_packages(connection, new | batch_state.links.keys())
    links = table_of(LinkTable)
    for source, ids in _by_source((row.source, row.tracker_id) for row in changed if row.subject == "manifest"):
        linked = select(links.c.package).where(links.c.source == source, links.c.manifest.in_(ids))
        _mark(connection, source, table_of(TrackerTable).c.tracker_id.in_(linked))


def mark_packages(connection: Connection, packages: Iterable[TrackerKey]) -> None:
    """Mark these packages; those without a row are left out."""
    for source, ids in _by_source(packages):
        _mark(connection, source, table_of(TrackerTable).c.tracker_id.in_(ids))


def _by_source(keys: Iterable[TrackerKey]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the ids of each source in pieces, which one statement takes."""
    of_source: dict[str, list[str]] = defaultdict(list)
    for source, tracker_id in sorted(keys):
        of_source[source].append(tracker_id)
    for source, ids in of_source.items():
        for some in chunks(ids, _KEYS):
            yield source, some


def _mark(connection: Connection, source: str, wanted: ColumnElement[bool]) -> None:
    """Update the wanted packages whose column differs from the state of their manifest."""
    trackers, links = table_of(TrackerTable), table_of(LinkTable)
    manifests = trackers.alias("manifests")
    is_manifest = and_(manifests.c.source == links.c.source, manifests.c.tracker_id == links.c.manifest)
    of_package = links.c.source == trackers.c.source, links.c.package == trackers.c.tracker_id
    is_final = manifests.c.status_milestone.in_(FINAL_MILESTONES)
    is_completed = exists(select(links.c.package).join(manifests, is_manifest).where(*of_package, is_final).correlate(trackers))
    differing = (
        trackers.c.source == source,
        wanted,
        trackers.c.subject == "package",
        trackers.c.manifest_completed != is_completed,
    )
    connection.execute(update(trackers).where(*differing).values(manifest_completed=is_completed))
