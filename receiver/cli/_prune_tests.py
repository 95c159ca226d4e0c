"""The part of `prune` that deletes the deliveries and trackers of tests."""

import asyncio
from typing import Any

import click

from receiver.cli._output import advancing, show_json, show_pairs
from receiver.cli._reading import reading
from receiver.cli._remote import audit_entry, do_here, post, writing
from receiver.domain.trimming import trim
from receiver.errors import WriterTaken
from receiver.maintenance.run_removal import ALL, remove_test_runs
from receiver.settings import Settings, load
from receiver.storage.run_removal import RemovedTests, count_tests


class RunParam(click.ParamType[str]):
    """The run of a test, up to eight hexadecimal digits as `simulate --run` takes them; or all."""

    name = "run"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the digits."""
        text = trim(str(value)).lower()
        if text == ALL:
            return text
        if not 1 <= len(text) <= 8 or set(text) - set("0123456789abcdef"):
            self.fail(f"{value!r}: expected the run of a test: up to eight hexadecimal digits.", param, ctx)
        return text.zfill(8)


def prune_tests(chosen: str, *, dry_run: bool, as_json: bool) -> None:
    """Delete a run of a test, or all tests, and print the numbers of its deliveries and trackers."""
    settings = load()
    run = None if chosen == ALL else chosen
    with reading(settings) as database:
        due = count_tests(database, run)
    done = due if dry_run else _remove(settings, run, sum(due))
    if as_json:
        show_json({"test_run": run, "dry_run": dry_run, **done._asdict()})
        return
    word = "to delete" if dry_run else "deleted"
    show_pairs((f"{name} {word}", f"{number:,}") for name, number in done._asdict().items())


def _remove(settings: Settings, run: str | None, rows: int) -> RemovedTests:
    """Remove here, or have the service that holds the database do it; show the progress."""
    with advancing("pruning", rows) as advance:
        try:
            with writing(settings) as executor:
                done, _ = asyncio.run(remove_test_runs(do_here(executor), run, audit_entry, advance=advance))
                return done
        except WriterTaken as taken:
            done, more = RemovedTests(), True
            while more:
                answer = post(settings, "/ops/api/prune/tests", {"test_run": run}, taken)
                piece, more = RemovedTests(answer["deliveries"], answer["trackers"]), answer["more"]
                done = done.add(piece)
                advance(sum(piece))
            return done
