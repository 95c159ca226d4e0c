"""The commands `quarantine` that change something: retry, dismiss, reopen."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

import click

from receiver.cli._lists import read_items
from receiver.cli._options import Text, as_json, item_filters
from receiver.cli._output import confirm
from receiver.cli._reading import reading
from receiver.cli._remote import audit_entry, perform, post
from receiver.cli._replay import replay_found
from receiver.domain.labels import count
from receiver.domain.replays import ReplayOptions
from receiver.errors import NotFound, WriterTaken
from receiver.maintenance.quarantine import dismiss as dismiss_items
from receiver.maintenance.quarantine import reopen as reopen_items
from receiver.settings import Settings, load
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.statements import chunks
from receiver.writer.executor import Do

_NONE_NAMED = "No open message in quarantine has these IDs."
_NONE_MATCHES = "No open message in quarantine matches."
_NONE_DISMISSED = "No dismissed message in quarantine {}, or a corrected message has replaced it."


@click.command()
@click.argument("ids", type=Text(), metavar="[ID]...", nargs=-1)
@item_filters
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@as_json
def retry(ids: tuple[str, ...], *, dry_run: bool, yes: bool, as_json: bool, **filters: Any) -> None:
    """Decide quarantined messages and events again.

    Use it after a change of the field paths or an update. Name them by item ID, as `quarantine list` prints it, or by filters.
    Shows first what would change, then asks. A date too far in the future stays quarantined: only `deliveries replay --force`
    accepts it.
    """
    _check_choice(ids, filters)

    def find(database: Database) -> list[str]:
        named = ids or _find(database, queries.QuarantineFilter(**filters))
        found: set[str] = set()
        for some in chunks(named, queries.MAX_LIMIT):
            found.update(queries.find_quarantined_deliveries(database, some))
        if not found:
            raise NotFound(_NONE_NAMED if ids else _NONE_MATCHES)
        return sorted(found)

    effects = replay_found(find, ReplayOptions(0, retry=True), dry_run=dry_run, yes=yes, as_json=as_json)
    if ids and effects.skipped:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("ids", type=Text(), metavar="[ID]...", nargs=-1)
@item_filters
@click.option("--note", type=Text(), help="Why. It is stored with each message and in the audit log.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def dismiss(ids: tuple[str, ...], *, note: str | None, yes: bool, **filters: Any) -> None:
    """Dismiss what needs no further attention.

    Name them by item ID, as `quarantine list` prints it, or by filters. Dismissed ones no longer count as open; their content
    stays until its retention period ends.
    """
    _check_choice(ids, filters)
    settings = load()
    with reading(settings) as database:
        named = sorted(set(ids)) if ids else _find(database, queries.QuarantineFilter(**filters))
    if not ids and named and not yes:
        confirm(f"Dismiss {count(len(named), 'quarantined message')}?")
    dismissed = 0
    if named:
        change = partial(dismiss_items, ids=named, note=note, make_entry=audit_entry)
        dismissed = _change(settings, change, "dismiss", named, "dismissed", note=note)
    if not dismissed:
        raise NotFound(_NONE_NAMED if ids else _NONE_MATCHES)
    click.echo(f"Dismissed: {count(dismissed, 'quarantined message')}.")


@click.command()
@click.argument("ids", type=Text(), metavar="[ID]...", nargs=-1)
@item_filters
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def reopen(ids: tuple[str, ...], *, yes: bool, **filters: Any) -> None:
    """Open dismissed messages and events again.

    Name them by item ID, as `quarantine list --state dismissed` prints it, or by filters. Their notes are removed. What a
    corrected message has replaced stays closed.
    """
    _check_choice(ids, filters)
    settings = load()
    with reading(settings) as database:
        named = sorted(set(ids)) if ids else _find(database, queries.QuarantineFilter(**filters, state="dismissed"))
    if not ids and named and not yes:
        confirm(f"Reopen {count(len(named), 'dismissed message')}?")
    reopened = 0
    if named:
        reopened = _change(settings, partial(reopen_items, ids=named, make_entry=audit_entry), "reopen", named, "reopened")
    if not reopened:
        raise NotFound(_NONE_DISMISSED.format("has these IDs" if ids else "matches"))
    click.echo(f"Reopened: {count(reopened, 'quarantined message')}.")


def _check_choice(ids: Sequence[str], filters: Mapping[str, Any]) -> None:
    if bool(ids) == any(value is not None for value in filters.values()):
        raise click.UsageError("Name messages by ID, or by filters such as --reason bad_occurrence; not both.")


def _find(database: Database, wanted: queries.QuarantineFilter) -> list[str]:
    """Return the ids of the items that match."""
    return [item["id"] for item in read_items(partial(queries.list_quarantine, database, wanted))]


def _change(
    settings: Settings,
    change: Callable[[Do], Coroutine[Any, Any, int]],
    command: str,
    ids: Sequence[str],
    counted: str,
    **options: Any,
) -> int:
    """Change items here, or in the service that holds the database. Return the number of those that were changed."""

    def ask(taken: WriterTaken) -> int:
        path = f"/ops/api/quarantine/{command}"
        return sum(post(settings, path, {"ids": some, **options}, taken)[counted] for some in chunks(ids, queries.MAX_LIMIT))

    return perform(settings, change, ask)
