"""Deciding kept calls again."""

from collections.abc import Sequence
from typing import Any

import click

from receiver.cli.complaints import complain
from receiver.cli.confirming import confirm
from receiver.cli.effects import Effects
from receiver.cli.options import OneOf, Text, TimeParam, as_json, of_source
from receiver.cli.output import show_json
from receiver.cli.progress import advancing, until_interrupted
from receiver.cli.replaying import LeftOut, ReplayRunner, replaying
from receiver.settings import load
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database


@click.command()
@click.argument("ids", type=Text(), metavar="[ID]...", nargs=-1)
@of_source
@click.option("--outcome", type=OneOf(["accepted", "unreadable", "failed"]), help="Only deliveries with this outcome.")
@click.option("--status", type=click.IntRange(100, 599), help="Only deliveries answered with this HTTP status.")
@click.option("--client", type=Text(), help="Only deliveries from this IP address.")
@click.option("--since", type=TimeParam(), help="Only later deliveries: 2026-01-31T12:00:00Z, 2026-01-31 or 24h.")
@click.option("--until", type=TimeParam(), help="Only earlier deliveries.")
@click.option("--message-id", type=Text(), help="Only deliveries with this message ID.")
@click.option("--tracking-number", type=Text(), help="Only deliveries for this tracking number.")
@click.option("--force", is_flag=True, help="Also what is in quarantine, as if it had not come yet; no time is too far ahead.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def replay(ids: tuple[str, ...], *, force: bool, dry_run: bool, yes: bool, as_json: bool, **filters: Any) -> None:
    """Reprocess stored deliveries, oldest first.

    Name them by ID or by filters. A message without a verdict, or in quarantine and now readable, gets its verdict; others keep
    theirs. First shows what each delivery by itself would change, then asks.
    """
    if bool(ids) == any(value is not None for value in filters.values()):
        raise click.UsageError("Name deliveries by ID, or by filters such as --since 24h; not both.")
    with replaying(load()) as (database, replayer):
        named = sorted(set(ids)) if ids else _find(database, queries.DeliveryFilter(**filters))
        effects = _run(replayer, named, Effects(whole=as_json), force=force, dry_run=True)
        if not as_json:
            effects.show()
        if effects.changing and not dry_run and not effects.is_interrupted:
            if not yes:
                confirm(f"Reprocess {len(effects.changing)} of {len(named)} deliveries?")
            foreseen, effects = effects, Effects(whole=as_json)
            effects.left_out += foreseen.left_out
            _run(replayer, foreseen.changing, effects, force=force, dry_run=False)
            if not as_json:
                effects.show_total("changed", "moved", "stayed")
    if as_json:
        show_json({"dry_run": dry_run, "force": force, **effects.as_json()})
    if effects.is_interrupted:
        raise KeyboardInterrupt
    if ids and effects.left_out:
        raise click.exceptions.Exit(1)


def _find(database: Database, wanted: queries.DeliveryFilter) -> list[str]:
    """Return the ids of the calls that are wanted, oldest first."""
    found: list[str] = []
    page = queries.list_deliveries(database, wanted, NAMES, queries.MAX_LIMIT)
    found += [row["id"] for row in page.items]
    while page.next is not None:
        page = queries.list_deliveries(database, wanted, NAMES, queries.MAX_LIMIT, page.next)
        found += [row["id"] for row in page.items]
    return found[::-1]


def _run(replayer: ReplayRunner, ids: Sequence[str], effects: Effects, *, force: bool, dry_run: bool) -> Effects:
    """Decide calls again, each in a transaction of its own, until all are done or Ctrl-C is pressed; return `effects`."""
    done = 0
    with advancing("looking" if dry_run else "replaying", len(ids)) as advance, until_interrupted() as interrupted:
        try:
            for done, delivery_id in enumerate(ids):  # noqa: B007  it is what is told of the end
                if interrupted():
                    effects.is_interrupted = True
                    break
                try:
                    effects.add(replayer.replay(delivery_id, force=force, dry_run=dry_run))
                except LeftOut as error:
                    effects.left_out.append((delivery_id, error.message))
                advance(1)
            else:
                done = len(ids)
        finally:
            if done < len(ids) and not dry_run:
                complain(f"stopped: {done} of {len(ids)} deliveries were reprocessed, the others are unchanged")
    return effects
