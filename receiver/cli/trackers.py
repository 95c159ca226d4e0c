"""What we know of a parcel."""

from typing import Any

import click

from receiver.cli.output import brief, show_heading, show_json, show_pairs, show_table
from receiver.errors import NotFound
from receiver.settings import load
from receiver.storage import queries
from receiver.storage.database import Database


@click.group()
def trackers() -> None:
    """List trackers and show their timelines."""


@trackers.command("list")
@click.option("--q", "search", metavar="TEXT", help="Tracking number, tracker id, client tracker id or reference; without case.")
@click.option("--source", help="Only this source, such as ship24.")
@click.option("--milestone", help="Only trackers at this milestone, such as delivered.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_trackers(search: str | None, source: str | None, milestone: str | None, limit: int, *, as_json: bool) -> None:
    """List trackers, last moved first."""
    wanted = queries.TrackerFilter(search, source, milestone)
    found = queries.list_trackers(Database(load().database_url), wanted, limit)
    if as_json:
        show_json(found.as_json())
        return
    show_table(
        ("tracker", "milestone", "occurred", "status"),
        (
            (row["tracking_number"] or row["tracker_id"], row["status_milestone"], row["latest_occurrence"], row["status"])
            for row in found.items
        ),
        wrapped=["tracker", "status"],
    )


@trackers.command()
@click.argument("tracker")
@click.option("--source", help="Only this source, such as ship24.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def show(tracker: str, source: str | None, *, as_json: bool) -> None:
    """Show a tracker, by its number, id or reference, with its timeline: newest occurrence first."""
    database = Database(load().database_url)
    found = queries.list_trackers(database, queries.TrackerFilter(tracker, source, exact=True)).items
    if not found:
        raise NotFound(f"No tracker has the number, id or reference {tracker}.")
    if len(found) > 1:
        ids = ", ".join(f"{row['source']} {row['tracker_id']}" for row in found)
        raise NotFound(f"{len(found)} trackers answer to {tracker}; show one of them by its id: {ids}.")
    answer = queries.show_tracker(database, found[0]["source"], found[0]["tracker_id"])
    if as_json:
        show_json(answer)
        return
    _show(answer)


def _show(answer: dict[str, Any]) -> None:
    state = answer["tracker"]
    manifest = state["manifest"]
    status = f"{state['status'] or '-'} ({state['status_milestone'] or 'no milestone'})"
    show_pairs(
        {
            "tracker": f"{state['source']} {state['tracker_id']}",
            "tracking number": state["tracking_number"],
            "client tracker": state["client_tracker_id"],
            "reference": state["shipment_reference"],
            "status": status if state["latest_occurrence"] else "no event yet",
            "location": state["location"],
            "occurred": state["latest_occurrence"],
            "applied": state["applied_at"],
            "manifest": manifest
            and f"{manifest['tracker_id'].removeprefix('manifest:')}: {manifest['status'] or 'no status yet'}",
            "packages": ", ".join(state["packages"]),
        }
    )
    show_heading("Timeline")
    columns = ("occurred", "outcome", "status", "milestone", "received (UTC)")
    show_table(columns, (_event(event) for event in answer["events"]), wrapped=["status", "milestone"])


def _event(event: dict[str, Any]) -> tuple[object, ...]:
    outcome = event["outcome"] + (f" ({event['reason']})" if event["reason"] else "")
    return event["occurrence"], outcome, event["status"], event["status_milestone"], brief(event["received_at"])
