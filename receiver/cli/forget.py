"""The command `forget`: delete the personal data of one tracker."""

from typing import Any

import click

from receiver.cli._options import Text, as_json
from receiver.cli._output import confirm, show_json, show_pairs
from receiver.cli._remote import audit_entry, perform, post, read_here, reading
from receiver.maintenance.erase import Eraser
from receiver.settings import Settings, load
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.writer.executor import Do

_TIMEOUT_SECONDS = 600.0  # the service searches all data that may belong to the tracker
_STAYS = (
    "Identities, verdicts, statuses and locations stay. New deliveries for this tracker are stored as before, and earlier copies "
    "of the database are not changed."
)
_LOG = "The WAL could not be emptied because of a reader. It contains deleted bytes until the service is restarted."
_VACUUM = "PostgreSQL keeps deleted bytes in its files until its next vacuum. No query and no dump shows them."


@click.command()
@click.option(
    "--tracker", type=Text(), required=True, metavar="SOURCE/ID", help="The tracker. Its number, ID or reference works too."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@as_json
def forget(tracker: str, *, yes: bool, as_json: bool) -> None:
    """Delete the personal data of one tracker.

    Deletes its shipment data, and its parts of bodies, responses and quarantined bytes.
    """
    settings = load()
    with reading(settings) as database:
        source, tracker_id = queries.find_tracker(database, tracker, NAMES, is_whole=True)
    if not yes:
        confirm(f"Permanently delete the personal data of {source}/{tracker_id}?")
    done = _forget(settings, source, tracker_id)
    if as_json:
        show_json(done)
        return
    words = {"removed": "bodies removed", "rewritten": "bodies rewritten", "emptied": "emptied in quarantine"}
    show_pairs((("tracker", f"{source}/{tracker_id}"), *((words[name], str(done[name])) for name in words)))
    click.echo(_STAYS)
    if not Database(settings.database_url).has_one_writer:
        click.echo(_VACUUM)
    elif not done["wal_checkpointed"]:
        click.echo(_LOG)


def _forget(settings: Settings, source: str, tracker_id: str) -> dict[str, Any]:
    """Erase here, or have the service that holds the database do it."""
    tracker = {"source": source, "tracker_id": tracker_id}

    async def forget_here(do: Do) -> dict[str, Any]:
        with reading(settings) as database:  # closed before the writing connection, which empties the WAL when it closes last
            done = await Eraser(do, read_here, database, settings.sources()).erase(source, tracker_id, audit_entry)
        return tracker | done._asdict()

    done = perform(settings, forget_here, lambda taken: dict(post(settings, "/ops/api/forget", tracker, taken, _TIMEOUT_SECONDS)))
    done.setdefault("wal_checkpointed", not Database(settings.database_url).wal_bytes())
    return done
