"""Packages of completed manifests: the column `manifest_completed` of their trackers, so that an index leads to all others.

The column follows from the link of a package and the milestone of that manifest. So it is written again whenever one of these, or
a new package, is written. It is no field of `TrackerRow`: no decision needs or changes it.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import CTE, ColumnElement, Connection, Select, Update, and_, exists, literal_column, select, update

from receiver.domain.batch import BatchState
from receiver.domain.rows import TrackerRow
from receiver.domain.timelines import TrackerKey
from receiver.storage.database import Database
from receiver.storage.postgresql import lock_packages
from receiver.storage.queries.states import FINAL_MILESTONES
from receiver.storage.statements import KeyedUpdate
from receiver.storage.tables.ledger import LinkTable, TrackerTable
from receiver.storage.tables.metadata import table_of


def lock_completions(connection: Connection, database: Database) -> None:
    """Let only one transaction at a time write links, milestones of manifests and new packages. Lock trackers only after it.

    The race: one process completes a manifest while another one puts a package into it. Neither sees the rows of the other, and
    the rows may be new, so that they cannot be locked. A SQLite file is locked already.
    """
    if not database.has_one_writer:
        lock_packages(connection)


class Completions:
    """Marks packages inside transactions of the caller. Its statements are compiled once: each batch of packages needs them."""

    def __init__(self, database: Database) -> None:
        trackers = table_of(TrackerTable)
        self._of_packages = KeyedUpdate(database, trackers, _mark())
        self._of_manifests = KeyedUpdate(database, trackers, _mark(), _select_linked)

    def mark_batch(self, connection: Connection, batch_state: BatchState, changed: Sequence[TrackerRow]) -> None:
        """Mark the packages that a batch concerns: new ones, linked ones, and those of manifests that changed."""
        new = {(row.source, row.tracker_id) for row in changed if row.subject == "package" and row.version == 1}
        self.mark_packages(connection, new | batch_state.links.keys())
        manifests = [(row.source, row.tracker_id) for row in changed if row.subject == "manifest"]
        self._of_manifests.execute(connection, manifests)

    def mark_packages(self, connection: Connection, packages: Iterable[TrackerKey]) -> None:
        """Mark these packages; those without a row are left out."""
        self._of_packages.execute(connection, sorted(packages))


def _select_linked(manifests: CTE) -> Select[tuple[str, str]]:
    """Select the keys of the packages of manifests."""
    links = table_of(LinkTable)
    is_linked = and_(links.c.source == manifests.c.source, links.c.manifest == manifests.c.tracker_id)
    return select(links.c.source, links.c.package).join_from(manifests, links, is_linked)


def _mark() -> Update:
    """Return the update of the packages whose column differs from the state of their manifest."""
    trackers, links = table_of(TrackerTable), table_of(LinkTable)
    manifests = trackers.alias("manifests")
    is_manifest = and_(manifests.c.source == links.c.source, manifests.c.tracker_id == links.c.manifest)
    of_package = links.c.source == trackers.c.source, links.c.package == trackers.c.tracker_id
    is_final = manifests.c.status_milestone.in_([_literal(milestone) for milestone in FINAL_MILESTONES])
    is_completed = exists(select(links.c.package).join(manifests, is_manifest).where(*of_package, is_final).correlate(trackers))
    differing = trackers.c.subject == _literal("package"), trackers.c.manifest_completed != is_completed
    return update(trackers).where(*differing).values(manifest_completed=is_completed)


def _literal(word: str) -> ColumnElement[str]:
    """Return a word of ours as a part of the text: all parameters of a `KeyedUpdate` are keys."""
    return literal_column(f"'{word}'")
