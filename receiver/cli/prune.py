"""The command `prune`: delete data past its retention period."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from receiver import clock
from receiver.cli._options import as_json
from receiver.cli._output import advancing, show_json, show_table
from receiver.cli._prune_tests import RunParam, prune_tests
from receiver.cli._reading import reading
from receiver.cli._remote import audit_entry, perform, post, writing
from receiver.domain.retention import Removed, RetentionPeriods
from receiver.errors import ConfigurationError, WriterTaken
from receiver.maintenance.prune import Pruner
from receiver.maintenance.run_removal import ALL
from receiver.relay.assembly import find_targets
from receiver.settings import Settings, load
from receiver.storage.database import Database
from receiver.storage.retention import count_prunable, count_rows
from receiver.writer.executor import Do

_NAMES = {
    "bodies": "bodies and responses",
    "quarantine": "quarantined bytes",
    "refused": "rejected, failed deliveries",
    "dead_changes": "failed, stranded changes",
    "delivered_changes": "records of delivered changes",
}
_REUSED = "SQLite reuses the free pages. To make the file smaller, stop the service and add --vacuum."
_VACUUMED = "PostgreSQL reuses the space after its next vacuum, which runs automatically."


@click.command()
@click.option("--bodies-days", type=click.IntRange(1, 36_500), help="Days to keep bodies. Default: from the settings.")
@click.option("--dry-run", is_flag=True, help="Only count what would be deleted.")
@click.option("--vacuum", is_flag=True, help="Then make the SQLite file smaller. The service must not run.")
@click.option(
    "--tests",
    type=RunParam(),
    is_flag=False,
    flag_value=ALL,
    metavar="[RUN]",
    help="Instead, delete deliveries and trackers of tests, of one run or of all.",
)
@as_json
def prune(bodies_days: int | None, tests: str | None, *, dry_run: bool, vacuum: bool, as_json: bool) -> None:
    """Delete data past its retention period.

    The service does this every hour. Identities and verdicts stay, so a repeated message is still a duplicate.

    With --tests: delete what `simulate` and `check` have sent as a test, identities too.
    """
    if tests is not None:
        if bodies_days is not None or vacuum:
            raise click.UsageError("--tests cannot be combined with --bodies-days or --vacuum.")
        prune_tests(tests, dry_run=dry_run, as_json=as_json)
        return
    settings = load()
    running = [known.subscription.target for known in find_targets(settings)]
    periods = settings.periods()
    if bodies_days is not None:
        periods = periods._replace(bodies_days=bodies_days)
    if vacuum and not dry_run:
        _check_vacuum(settings)
    before, due = _count(settings, periods, running)
    removed = due if dry_run else _prune(settings, running, bodies_days, sum(amount.rows for amount in due.values()))
    if vacuum and not dry_run:
        _vacuum(settings)
    after = None if dry_run else _count(settings, None, running)[0]
    if as_json:
        kinds = {kind: amount._asdict() for kind, amount in removed.items()}
        show_json({"dry_run": dry_run, "removed": kinds, "before": before, "after": after})
    else:
        _show(before, removed, after)


def _count(
    settings: Settings, periods: RetentionPeriods | None, running: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Removed]]:
    """Return the sizes and rows of the database, and what these periods would delete."""
    with reading(settings) as database:
        cutoffs = {} if periods is None else periods.cutoffs(clock.to_micros(clock.now()))
        sizes = {
            "database_bytes": database.size_bytes(),
            "free_bytes": database.free_bytes(),
            "rows": count_rows(database, running),
        }
        return sizes, count_prunable(database, cutoffs, running)


def _prune(settings: Settings, running: Sequence[str], bodies_days: int | None, rows: int) -> dict[str, Removed]:
    """Prune here, or have the service that holds the database do it; show the progress."""
    pauses = not Database(settings.database_url).has_one_writer  # SQLite: no service runs, so nobody waits for the writer
    with advancing("pruning", rows) as advance:

        async def prune_here(do: Do) -> dict[str, Removed]:
            pruner = Pruner(settings.periods(), do, running, pauses=pauses)
            return (await pruner.prune(audit_entry, bodies_days, advance=advance)).removed

        return perform(settings, prune_here, lambda taken: _prune_there(settings, bodies_days, taken, advance))


def _prune_there(
    settings: Settings, bodies_days: int | None, taken: WriterTaken, advance: Callable[[int], None]
) -> dict[str, Removed]:
    total: dict[str, Removed] = {}
    mark, more = None, True
    while more:
        answer = post(settings, "/ops/api/prune", {"bodies_days": bodies_days, "run": mark}, taken)
        mark, more = answer["run"], answer["more"]
        for kind, amount in answer["removed"].items():
            total[kind] = total.get(kind, Removed()).add(amount["rows"], amount["content_bytes"])
            advance(amount["rows"])
    return total


def _check_vacuum(settings: Settings) -> None:
    """Check that a vacuum is possible. Raises ConfigurationError, or WriterTaken while a service holds the file."""
    database = Database(settings.database_url)
    if not database.has_one_writer:
        raise ConfigurationError("--vacuum is for SQLite; PostgreSQL vacuums by itself.")
    with writing(settings):
        pass


def _vacuum(settings: Settings) -> None:
    database = Database(settings.database_url)
    try:
        database.take()
        database.vacuum()
    finally:
        database.close()


def _show(before: dict[str, Any], removed: dict[str, Removed], after: dict[str, Any] | None) -> None:
    """Print what was stored before, deleted and left. `after` is None for a dry run."""
    rows: list[list[str]] = []
    for kind, name in _NAMES.items():
        amount = f"{removed[kind].rows:,}" if kind in removed else "kept forever"
        rows.append([name, f"{before['rows'][kind]:,}", amount, "" if after is None else f"{after['rows'][kind]:,}"])
    content = sum(amount.content_bytes for amount in removed.values())
    then = after or before
    rows.append(["database", _size(before["database_bytes"]), _size(content), _size(then["database_bytes"])])
    rows.append(["free space", _size(before["free_bytes"]), "", _size(then["free_bytes"])])
    columns = ("", "now", "to delete") if after is None else ("", "before", "deleted", "after")
    show_table(columns, [row[: len(columns)] for row in rows], numbers=columns[1:])
    if after is not None and after["free_bytes"] != 0:
        click.echo(_VACUUMED if after["free_bytes"] is None else _REUSED)


def _size(number: int | None) -> str:
    return "-" if number is None else f"{number / 2**20:,.1f} MiB"
