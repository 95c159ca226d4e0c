"""The command `backup`."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any

import click

from receiver import clock
from receiver.cli._output import advancing, show_pairs, until_interrupted, zoned
from receiver.cli._reading import reading
from receiver.cli._remote import audit_entry, do_here, post, post_again, writing
from receiver.domain.backups import BackupProgress
from receiver.errors import ConfigurationError, WriterTaken
from receiver.maintenance.backup import Backup, begin_backup, finish_backup, prepare_backup
from receiver.settings import Settings, load
from receiver.storage.database import Database
from receiver.storage.database_copies import CopyFacts, read_copy
from receiver.writer.commands.backups import ReadBackupProgress
from receiver.writer.executor import CommandExecutor

_POLL_SECONDS = 0.1
_PATH = "/ops/api/backup"

Advance = Callable[[BackupProgress], None]


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--check", is_flag=True, help="Check FILE, which an earlier backup made.")
def backup(file: Path, *, check: bool) -> None:
    """Copy the SQLite database into a file.

    The running service copies between its commits; without a service this command does it. FILE has its name once it is whole,
    synced and checked. Use pg_dump for PostgreSQL.
    """
    settings = load()
    with until_interrupted() as interrupted:
        facts = read_copy(file, interrupted, with_bodies=True) if check else _back_up(settings, file, interrupted)
    show_copy(file, facts)


def show_copy(file: Path, facts: CopyFacts) -> None:
    """Print the facts of a copy that was checked."""
    last = facts.last_delivery_at
    pairs: list[tuple[str, Any]] = [
        ("copy", file),
        ("size", f"{facts.size_bytes / 2**20:,.1f} MiB"),
        ("tables", f"version {facts.version.version}, undamaged"),
        ("deliveries", f"{facts.rows.get('deliveries', 0):,}"),
        ("trackers", f"{facts.rows.get('trackers', 0):,}"),
        ("last delivery", None if last is None else zoned(clock.iso(last))),
    ]
    show_pairs(pairs)


def _back_up(settings: Settings, file: Path, interrupted: Callable[[], bool]) -> CopyFacts:
    database = Database(settings.database_url)
    if database.path is None:
        raise ConfigurationError(f"{database} is not a SQLite file. Use pg_dump, or base backups of the server.")
    with reading(settings):
        made = prepare_backup(file, database.path.stat())
    try:
        progress = _copy(settings, made, interrupted)
        return finish_backup(made, progress, interrupted)
    finally:
        made.partial.unlink(missing_ok=True)


def _copy(settings: Settings, made: Backup, interrupted: Callable[[], bool]) -> BackupProgress:
    """Copy here, or have the service that holds the database do it; show the progress."""
    size_bytes = Database(settings.database_url).size_bytes()
    with advancing("copying", size_bytes, in_bytes=True) as advance:
        done = 0

        def show(progress: BackupProgress) -> None:
            nonlocal done
            reached = size_bytes * progress.copied_pages // max(1, progress.pages)
            advance(reached - done)
            done = reached

        try:
            with writing(settings) as executor:
                return _copy_here(executor, made, show, interrupted)
        except WriterTaken as taken:
            return _copy_there(settings, made, show, interrupted, taken)


def _copy_here(executor: CommandExecutor, made: Backup, show: Advance, interrupted: Callable[[], bool]) -> BackupProgress:
    progress = asyncio.run(begin_backup(do_here(executor), str(made.partial), made.proof, audit_entry))
    while progress.rows is None:
        if interrupted():
            raise KeyboardInterrupt
        executor.backups.advance()
        sleep(executor.backups.wait_seconds(_POLL_SECONDS))
        progress = executor.do(ReadBackupProgress(progress.run))
        show(progress)
    return progress


def _copy_there(
    settings: Settings, made: Backup, show: Advance, interrupted: Callable[[], bool], taken: WriterTaken
) -> BackupProgress:
    def ask(body: dict[str, Any]) -> BackupProgress:
        return BackupProgress(**post_again(settings, _PATH, body))

    progress = BackupProgress(**post(settings, _PATH, {"file": str(made.partial), "proof": made.proof}, taken))
    while progress.rows is None:
        if interrupted():
            ask({"run": progress.run, "cancel": True})
            raise KeyboardInterrupt
        sleep(_POLL_SECONDS)
        progress = ask({"run": progress.run})
        show(progress)
    return progress
