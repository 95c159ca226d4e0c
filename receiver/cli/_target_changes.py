"""The commands `targets` that change or send something."""

from collections.abc import Mapping
from typing import Any

import click

from receiver.cli._options import OneOf, Text, TimeParam, as_json, in_utc, of_source
from receiver.cli._output import capped_count, confirm, show_json
from receiver.cli._reading import reading
from receiver.cli._remote import audit_entry, perform, post
from receiver.clock import iso
from receiver.domain.changes import BASES
from receiver.domain.labels import count
from receiver.errors import NotFound, WriterTaken
from receiver.maintenance.targets import drop_target, flush_target, pause_target, resend_change, resume_target, retry_failed
from receiver.relay.assembly import find_targets, target_names
from receiver.relay.signature import make_secret
from receiver.settings import Settings, load
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.dropping import Dropped
from receiver.storage.interventions import DeadFilter
from receiver.storage.resending import Resent

_TEST_SECONDS = 75.0  # more than a test takes
_TIMEOUT_SECONDS = 600.0  # the service updates up to millions of changes


@click.command()
@click.argument("name", type=Text())
def pause(name: str) -> None:
    """Pause target NAME: its changes wait until it is resumed."""
    settings = load()
    state = _find(settings, name)
    if _is_halted(state):
        raise NotFound(f"{name} is paused or stopped already.")
    perform(
        settings,
        lambda do: pause_target(do, name, audit_entry),
        lambda taken: post(settings, "/ops/api/targets/pause", {"target": name}, taken)["paused"],
    )
    click.echo(f"Paused: {name}. To resume it, run `receiver targets resume {name}`.")


@click.command()
@click.argument("name", type=Text())
def flush(name: str) -> None:
    """Try the waiting changes of target NAME at once."""
    settings = load()
    state = _find(settings, name)
    if _is_halted(state):
        raise NotFound(f"{name} is paused or stopped. Resume it: `receiver targets resume {name}`.")
    changes = perform(
        settings,
        lambda do: flush_target(do, name, audit_entry),
        lambda taken: int(post(settings, "/ops/api/targets/flush", {"target": name}, taken, _TIMEOUT_SECONDS)["changes"]),
    )
    click.echo(f"Due now: {count(changes, 'change')} for {name} that would have waited longer.")


@click.command()
@click.argument("name", type=Text())
def resume(name: str) -> None:
    """Resume target NAME, which was paused or answered 410."""
    settings = load()
    state = _find(settings, name)
    if not _is_halted(state):
        raise NotFound(f"{name} is not paused or stopped.")
    perform(
        settings,
        lambda do: resume_target(do, name, audit_entry),
        lambda taken: post(settings, "/ops/api/targets/resume", {"target": name}, taken)["resumed"],
    )
    click.echo(f"Resumed: {name}.")


@click.command()
@click.argument("name", type=Text())
@click.option("--since", type=TimeParam(), help="Only changes that failed since: 14:03, yesterday, 2026-01-31 12:00 or 24h.")
@of_source
@click.option("--tracker", type=Text(), metavar="TRACKER", help="Only of a tracker: a number, ID, reference or SOURCE/ID.")
@in_utc
def retry(name: str, since: int | None, source: str | None, tracker: str | None) -> None:
    """Retry the failed changes of target NAME, all or some."""
    settings = load()
    state = _find(settings, name)
    if not state["dead"]:
        waiting = "1 is" if state["waiting"] == 1 else f"{capped_count(state, 'waiting')} are"
        raise NotFound(f"{name} has no failed changes; {waiting} waiting.")
    tracker_id = None
    if tracker is not None:
        with reading(settings) as database:
            source, tracker_id = queries.find_tracker(database, tracker, NAMES, source)
    changes = _retry(settings, name, DeadFilter(since, source, tracker_id))
    click.echo(f"Queued for retry: {count(changes, 'change')} for {name}.")


@click.command()
@click.option("--tracker", type=Text(), required=True, metavar="TRACKER", help="A number, ID, reference or SOURCE/ID.")
@click.option("--target", type=Text(), help="Only to this target. Default: to all with a record of the change.")
@click.option("--sequence", type=click.IntRange(1, 1 << 29), help="Number of the change. Default: the last one.")
@click.option("--basis", type=OneOf(BASES), default="events", show_default=True, help="Kind of the change.")
def resend(tracker: str, target: str | None, sequence: int | None, basis: str) -> None:
    """Send a change of a tracker again, with the same ID and sequence."""
    settings = load()
    known = target_names(find_targets(settings))
    with reading(settings) as database:
        source, tracker_id = queries.find_tracker(database, tracker, NAMES)
    change = (source, tracker_id, target, basis, sequence)

    def ask(taken: WriterTaken) -> Resent:
        names = ("source", "tracker_id", "target", "basis", "sequence")
        answer = post(settings, "/ops/api/targets/resend", dict(zip(names, change, strict=True)), taken)
        return Resent(answer["change_id"], answer["basis"], answer["sequence"], tuple(answer["targets"]))

    resent = perform(settings, lambda do: resend_change(do, *change, known, audit_entry), ask)
    where = f"sent again to {', '.join(resent.targets)}" if resent.targets else "waiting already"
    click.echo(f"Change {resent.sequence} of {source}/{tracker_id} ({resent.change_id}): {where}.")


@click.command("test")
@click.argument("name", type=Text())
@as_json
def test(name: str, *, as_json: bool) -> None:
    """Send a test change to target NAME and show its answer.

    The running service sends it, with the settings that it has loaded. It is marked as a test, and nothing stores it. The exit
    code is 1 if the target did not take it.
    """
    settings = load()
    queries.check_named(target_names(find_targets(settings)), name)
    taken = WriterTaken("Test changes are sent by the running service.")
    result = post(settings, "/ops/api/targets/test", {"target": name}, taken, _TEST_SECONDS)
    if as_json:
        show_json(result)
    else:
        click.echo(f"{'Delivered' if result['delivered'] else 'Failed'}: {result['answer']}")
    if not result["delivered"]:
        click.get_current_context().exit(1)


@click.command()
@click.argument("name", type=Text())
def secret(name: str) -> None:
    """Make a new secret for target NAME and say where to put it. Nothing is stored."""
    click.echo(f"{name}:{make_secret()}")
    click.echo(
        "Add this line to RECEIVER_TARGET_SECRETS, separated by a comma, give the part after the colon to the target, and "
        "restart the service. To replace a secret, list both until the target knows the new one.",
        err=True,
    )


@click.command()
@click.argument("name", type=Text())
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def drop(name: str, *, yes: bool) -> None:
    """Remove the changes of a target that the settings no longer name.

    Deletes the waiting and failed changes of target NAME. They are never delivered.
    """
    settings = load()
    with reading(settings) as database:
        queries.check_unnamed(database, target_names(find_targets(settings)), name)
    state = _find(settings, name)
    if not yes:
        amount = f"{capped_count(state, 'waiting')} waiting and {capped_count(state, 'dead')} failed changes"
        confirm(f"Permanently remove {amount} of {name}?")
    dropped = _drop(settings, name)
    click.echo(f"Removed: {dropped.waiting:,} waiting and {dropped.dead:,} failed changes of {name}.")


def _drop(settings: Settings, name: str) -> Dropped:
    """Remove here, or in the service that holds the database. Return the numbers of removed changes."""

    def ask(taken: WriterTaken) -> tuple[Dropped, bool]:
        dropped, more = Dropped(), True
        while more:
            answer = post(settings, "/ops/api/targets/drop", {"target": name}, taken)
            dropped, more = dropped.add(Dropped(answer["waiting"], answer["dead"])), answer["more"]
        return dropped, more

    return perform(settings, lambda do: drop_target(do, name, audit_entry), ask)[0]


def _retry(settings: Settings, name: str, only: DeadFilter) -> int:
    """Retry here, or in the service that holds the database. Return the number of changes."""
    since = None if only.since is None else iso(only.since)
    body = {"target": name, "since": since, "source": only.source, "tracker_id": only.tracker_id}
    return perform(
        settings,
        lambda do: retry_failed(do, name, audit_entry, only),
        lambda taken: int(post(settings, "/ops/api/targets/retry", body, taken, _TIMEOUT_SECONDS)["changes"]),
    )


def _find(settings: Settings, name: str) -> Mapping[str, Any]:
    names = target_names(find_targets(settings))
    with reading(settings) as database:
        queries.check_target(database, names, name)
        return queries.show_targets(database, [name])[name]


def _is_halted(state: Mapping[str, Any]) -> bool:
    """Tell whether a target is paused, or stopped because it answered 410."""
    return state["stopped_at"] is not None or state["paused_at"] is not None
