"""The commands `trackers list` and `trackers show`."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import click

from receiver import clock
from receiver.cli._lists import Paging, paged, show_list
from receiver.cli._options import NumberParam, Text, TimeParam, as_json, of_source, of_tests, sorted_by_time
from receiver.cli._output import (
    brief,
    describe_attempt,
    in_zone,
    show_heading,
    show_json,
    show_pairs,
    show_sentences,
    show_table,
    zoned,
)
from receiver.cli._reading import reading
from receiver.domain.changes import Subscription
from receiver.errors import ConfigurationError, NotFound
from receiver.relay.assembly import read_subscriptions
from receiver.settings import Settings, load
from receiver.sources import NAMES
from receiver.sources.facts import read_facts
from receiver.storage import queries


@click.group()
def trackers() -> None:
    """List trackers and show their timelines."""


@trackers.command("list")
@click.option("--q", "search", type=Text(), help="Start of a tracking number, ID or reference; upper or lower case.")
@of_source
@click.option("--milestone", type=Text(), help="Only trackers at this milestone, such as delivered.")
@click.option("--updated-before", type=TimeParam(), help="Only trackers without an update since, such as 24h.")
@click.option("--updated-after", type=TimeParam(), help="Only trackers with an update since.")
@click.option(
    "--stuck-days",
    type=NumberParam(0, 36_500, min_open=True),
    help="Only trackers in transit without an update for this many days.",
)
@of_tests
@click.option("--manifest", type=Text(), help="Only packages of the manifest with this tracker ID, such as manifest:MAN-1.")
@click.option("--customer", type=Text(), help="Only packages of the customer with this code; upper or lower case.")
@click.option("--milestone-differs", is_flag=True, help="Only trackers whose newest event and sender's status differ.")
@click.option(
    "--not-delivered-to", type=Text(), metavar="TARGET", help="Only trackers with a change that this target did not get."
)
@sorted_by_time
@paged
def list_trackers(
    search: str | None,
    source: str | None,
    milestone: str | None,
    updated_before: int | None,
    updated_after: int | None,
    stuck_days: float | None,
    manifest: str | None,
    customer: str | None,
    not_delivered_to: str | None,
    sort: str,
    *,
    milestone_differs: bool,
    test: bool | None,
    paging: Paging,
) -> None:
    """List trackers by their last update.

    With --q: in the order of the numbers, IDs or references that match. With --manifest or --customer: in the order of their IDs.
    With --not-delivered-to: by source and ID.
    """
    stuck_since = None if stuck_days is None else max(0, clock.to_micros(clock.now()) - _micros(stuck_days))
    wanted = queries.TrackerFilter(search, source, milestone, updated_before, updated_after, stuck_since)
    wanted = wanted._replace(milestone_differs=milestone_differs or None, test=test, manifest=manifest, customer=customer)
    wanted = wanted._replace(not_delivered_to=not_delivered_to, sort=sort)
    columns, wrapped = ["tracker", "milestone", "event time", "status"], ["tracker", "milestone", "status"]
    with reading() as database:
        read = partial(queries.list_trackers, database, wanted)
        show_list(read, paging, "trackers", lambda items: (columns, list(map(_line, items)), wrapped))


@trackers.command()
@click.argument("tracker", type=Text())
@click.option("--event", "event_id", type=Text(), help="Only this event, with all its versions and why one of them counts.")
@of_source
@as_json
def show(tracker: str, event_id: str | None, source: str | None, *, as_json: bool) -> None:
    """Show a tracker, its timeline and its changes for each target.

    TRACKER is a tracking number, an ID, a reference or SOURCE/ID.
    """
    settings = load()
    with reading(settings) as database:
        answer = queries.show_tracker(
            database, *queries.find_tracker(database, tracker, NAMES, source), _read_subscriptions(settings)
        )
    if event_id is not None:
        _show_event(answer, event_id, as_json=as_json)
    elif as_json:
        show_json(answer)
    else:
        _show(answer)


def _read_subscriptions(settings: Settings) -> Sequence[Subscription]:
    """Return the subscriptions, or none if a target cannot be made: `doctor` reports that, and the tracker is shown anyway."""
    try:
        return read_subscriptions(settings)
    except ConfigurationError:
        return ()


def _micros(days: float) -> int:
    return timedelta(days=days) // timedelta(microseconds=1)


def _line(row: dict[str, Any]) -> tuple[object, ...]:
    milestone = row["status_milestone"]
    if row["milestone_differs"]:
        milestone = f"{milestone} (sender: {row['shipment_milestone']})"
    if row["manifest"] and row["manifest"]["status"]:
        milestone = f"{milestone} (manifest: {row['manifest']['status']})"
    number = row["tracking_number"] or row["tracker_id"]
    return number if row["test_run"] is None else f"{number} (test)", milestone, row["latest_occurrence"], row["status"]


def _show(answer: dict[str, Any]) -> None:
    state = answer["tracker"]
    manifest = state["manifest"]
    status = f"{state['status'] or '-'} ({state['status_milestone'] or 'no milestone'})"
    show_pairs(
        {
            "tracker": f"{state['source']} {state['tracker_id']}",
            "tracking number": state["tracking_number"],
            "your reference": state["client_tracker_id"],
            "reference": state["shipment_reference"],
            "status": status if state["latest_occurrence"] else "no events",
            "sender's status": f"{state['shipment_milestone']} (differs from the newest event)"
            if state["milestone_differs"]
            else None,
            "location": state["location"],
            "event time": state["latest_occurrence"],
            "last update": state["applied_at"] and zoned(state["applied_at"]),
            "manifest": manifest and _write_manifest(manifest),
            **{label[:1].lower() + label[1:]: value for label, value in read_facts(state["source"], state["shipment"])},
            "packages": ", ".join(map(_count_packages, state["package_states"])),
            "test": state["test_run"] and f"run {state['test_run']}; no target gets it",
        }.items()
    )
    show_heading("Timeline")
    columns = ("event time", "outcome", "status", "milestone", in_zone("received"))
    show_table(columns, map(_event, answer["events"]), wrapped=["outcome", "status", "milestone"])
    lines = [_change(change, state) for change in answer["changes"] for state in change["targets"]]
    if lines:
        show_heading("Changes")
        names = ("sequence", "status", "target", "state", in_zone("time"), "attempts", "detail")
        show_table(names, lines, wrapped=["status", "detail"], numbers=["sequence", "attempts"])


def _show_event(answer: dict[str, Any], event_id: str, *, as_json: bool) -> None:
    """Show one event. Raises NotFound."""
    same = [event for event in answer["events"] if event["event_id"] == event_id]
    event = next((event for event in same if not event["superseded"]), None)
    if event is None:
        raise NotFound(f"The tracker has no event {event_id}. Run `receiver trackers show --json` to see the IDs of its events.")
    if as_json:
        show_json(event)
        return
    names = ("event_id", "message_id", "occurrence", "status", "status_milestone", "location", "outcome", "reason", "received_at")
    show_pairs((name.replace("_", " "), event[name]) for name in names)
    show_sentences([event["correction"] or "The event was never corrected."])
    if event["versions"]:
        show_heading("Versions")
        show_table(
            ("message", in_zone("generated"), "event time", "status", "counts"),
            map(_version, event["versions"]),
            ["message", "status"],
        )


def _version(version: dict[str, Any]) -> tuple[object, ...]:
    counts = "no" if version["superseded"] else "yes"
    return version["message_id"], brief(version["generated_at"]), version["occurrence"], version["status"], counts


def _write_manifest(manifest: dict[str, Any]) -> str:
    """Return the name of a manifest with its status and the time of it."""
    name = manifest["tracking_number"] or manifest["tracker_id"].removeprefix("manifest:")
    if manifest["applied_at"] is None:
        return f"{name}: no status"
    return f"{name}: {manifest['status'] or '-'} (since {zoned(manifest['applied_at'])})"


def _count_packages(state: dict[str, Any]) -> str:
    return f"{state['packages']} {state['status_milestone'] or 'not received'}"


def _event(event: dict[str, Any]) -> tuple[object, ...]:
    outcome = event["outcome"] + (f" ({event['reason']})" if event["reason"] else "")
    if event["superseded"]:
        outcome = f"superseded (message {event['message_id']})"
    return event["occurrence"], outcome, event["status"], event["status_milestone"], brief(event["received_at"])


def _change(change: dict[str, Any], state: dict[str, Any]) -> tuple[object, ...]:
    """Return the line of a change and a target. The time is that of the delivery or failure, or of the next attempt."""
    moment = state["delivered_at"] or state["died_at"] or state["next_attempt_at"]
    sequence = change["sequence"] if change["basis"] == "events" else f"{change['sequence']} (sender's status)"
    state_name, detail = state["state"].replace("_", " "), describe_attempt(state)
    return sequence, change["status"], state["target"], state_name, brief(moment), state["attempts"], detail
