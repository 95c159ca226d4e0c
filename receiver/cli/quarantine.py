"""The commands `quarantine`: list what could not be applied, and retry, dismiss or reopen it."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import click

from receiver.cli._lists import Paging, paged, read_items, show_pages
from receiver.cli._options import OneOf, Text, TimeParam, as_json, of_source, sorted_by_time
from receiver.cli._output import confirm, show_end, show_heading, show_pairs, zoned
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

_SHOWN_CHARACTERS = 300
_NONE_NAMED = "No open message in quarantine has these IDs."
_NONE_MATCHES = "No open message in quarantine matches."
_NONE_DISMISSED = "No dismissed message in quarantine {}, or a corrected message has replaced it."
_F = TypeVar("_F", bound=Callable[..., Any])


@click.group()
def quarantine() -> None:
    """List, retry, dismiss and reopen what could not be applied."""


def item_filters(command: _F) -> _F:
    """Add the filters of quarantined items to a command."""
    for option in (
        click.option("--until", type=TimeParam(), help="Only earlier ones."),
        click.option("--since", type=TimeParam(), help="Only later ones: 2026-01-31T12:00:00Z, 2026-01-31 or 24h."),
        click.option("--delivery", "delivery_id", type=Text(), help="Only those of the delivery with this ID."),
        click.option("--reason", type=Text(), help="Only this reason, such as bad_occurrence."),
        of_source,
        click.option("--q", "search", type=Text(), help="Message ID, tracker ID, tracking number, reference, or content."),
    ):
        command = option(command)
    return command


@quarantine.command("list")
@item_filters
@click.option(
    "--state", type=OneOf(queries.QUARANTINE_STATES), default="open", help="Open ones (default), or those that were closed."
)
@sorted_by_time
@paged
def list_quarantine(*, paging: Paging, **filters: Any) -> None:
    """List quarantined messages and events by time.

    Each is shown with what to do, and with the start of its content.
    """
    with reading() as database:
        show_pages(partial(queries.list_quarantine, database, queries.QuarantineFilter(**filters)), paging, _show_page)


def _show_page(page: queries.ResultPage, *, is_first: bool) -> None:  # noqa: ARG001  each item has its own heading
    for item in page.items:
        _show_quarantined(item)
    show_end(page, "quarantined messages")


@quarantine.command()
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


@quarantine.command()
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


@quarantine.command()
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


def _show_quarantined(item: dict[str, Any]) -> None:
    of_event = "" if item["event_position"] is None else f", event {item['event_position'] + 1}"
    left = item["raw_bytes"] - len(item["raw"][:_SHOWN_CHARACTERS].encode())
    show_heading(f"{zoned(item['received_at'])}  {item['source']}  {item['reason']}")
    show_pairs(
        {
            "delivery": f"{item['delivery_id']}, message {item['position'] + 1}{of_event}",
            "item": item["id"],
            "message ID": item["message_id"],
            "tracker": item["tracker_id"],
            "detail": item["detail"],
            "state": _describe_state(item),
            "what to do": item["advice"],
            "content": item["raw"][:_SHOWN_CHARACTERS] + (f" … {left} more bytes" if left > 0 else ""),
        }.items()
    )


def _describe_state(item: dict[str, Any]) -> str | None:
    """Return when and by whom an item was closed; None for an open one."""
    if item["state"] == "open":
        return None
    by = "" if item["closed_by"] is None else f" by {item['closed_by']}"
    note = "" if item["note"] is None else f": {item['note']}"
    return f"{item['state']} {zoned(item['closed_at'])}{by}{note}"
