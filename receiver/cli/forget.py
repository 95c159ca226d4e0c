"""The command `forget`: delete the personal data of one tracker or of a person."""

from collections.abc import Sequence
from functools import partial

import click

from receiver.cli._errors import complain
from receiver.cli._lists import read_items
from receiver.cli._options import Text, as_json
from receiver.cli._output import confirm, show_json, show_pairs, zoned
from receiver.cli._reading import reading
from receiver.cli._remote import audit_entry, perform, post, read_here
from receiver.clock import now, to_micros
from receiver.domain.erasure import ErasureCounts, ErasureReceipt
from receiver.domain.labels import count
from receiver.errors import NotFound, WriterTaken
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
_UNSEARCHED = "They stay until retention deletes them, and may name this person."
_VACUUM = "PostgreSQL keeps deleted bytes in its files until its next vacuum. No query and no dump shows them."


@click.command()
@click.option("--tracker", type=Text(), metavar="SOURCE/ID", help="The tracker. Its number, ID or reference works too.")
@click.option(
    "--person",
    type=Text(),
    metavar="WORDS",
    help="All trackers with these words: name, address, reference or customer code.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@as_json
def forget(tracker: str | None, person: str | None, *, yes: bool, as_json: bool) -> None:
    """Delete the personal data of a tracker or of a person.

    Deletes its shipment data, and its parts of bodies, responses and quarantined bytes. Prints a receipt without personal data.
    """
    if (tracker is None) == (person is None):
        raise click.UsageError("Expected either --tracker or --person.", click.get_current_context())
    settings = load()
    with reading(settings) as database:
        if tracker is not None:
            chosen = [queries.find_tracker(database, tracker, NAMES, is_whole=True)]
        else:
            chosen = _choose(database, str(person), is_shown=not yes)
    if not yes:
        names = "/".join(chosen[0]) if len(chosen) == 1 else f"these {len(chosen)} trackers"
        confirm(f"Permanently delete the personal data of {names}?")
    receipt = _forget(settings, chosen)
    if as_json:
        done = receipt.as_json()
        if tracker is not None:
            done = dict(zip(("source", "tracker_id"), chosen[0], strict=True)) | done
            del done["trackers"]
        show_json(done)
    else:
        _show(receipt)
        if not Database(settings.database_url).has_one_writer:
            click.echo(_VACUUM)
        elif not receipt.wal_checkpointed:
            click.echo(_LOG)
    if unreadable := receipt.counts.unreadable:
        bodies = count(unreadable, "body that is damaged or no text", "bodies that are damaged or no text")
        complain(f"Not searched: {bodies}. {_UNSEARCHED}")
        raise click.exceptions.Exit(1)


def _choose(database: Database, person: str, *, is_shown: bool) -> list[tuple[str, str]]:
    """Return the trackers that mention a person. Raises NotFound."""
    found = list(read_items(partial(queries.find_persons, database, person)))
    if not found:
        raise NotFound("No tracker has all of these words in its names or its shipment data.")
    for item in found if is_shown else ():
        click.echo(f"{item['source']}/{item['tracker_id']}", err=True)
        for path, text in item["found"].items():
            click.echo(f"  {path}: {text}", err=True)
    return [(item["source"], item["tracker_id"]) for item in found]


def _show(receipt: ErasureReceipt) -> None:
    """Print the receipt."""
    done = receipt.as_json()
    words = {"removed": "bodies removed", "rewritten": "bodies rewritten", "emptied": "emptied in quarantine"}
    if receipt.counts.unreadable:
        words["unreadable"] = "not searched"
    trackers = [("tracker", name) for name in done["trackers"]]
    show_pairs((("erased at", zoned(done["erased_at"])), *trackers, *((words[name], str(done[name])) for name in words)))
    click.echo(_STAYS)


def _forget(settings: Settings, chosen: Sequence[tuple[str, str]]) -> ErasureReceipt:
    """Erase here, or have the service that holds the database do it, one request for each tracker; return the receipt."""

    async def forget_here(do: Do) -> ErasureReceipt:
        with reading(settings) as database:
            return await Eraser(do, read_here, database, settings.sources()).erase(chosen, audit_entry)

    def ask(taken: WriterTaken) -> ErasureReceipt:
        erased_at = to_micros(now())
        counts = ErasureCounts()
        for source, tracker_id in chosen:
            body = {"source": source, "tracker_id": tracker_id}
            done = post(settings, "/ops/api/forget", body, taken, _TIMEOUT_SECONDS)
            counts = counts.plus(ErasureCounts(*(done[name] for name in ErasureCounts._fields)))
        return ErasureReceipt(erased_at, tuple(chosen), counts, done["wal_checkpointed"])

    return perform(settings, forget_here, ask)
