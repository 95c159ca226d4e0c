"""The command `explain`."""

from typing import Any

import click

from receiver.cli._options import Text, as_json
from receiver.cli._output import brief, in_zone, show_heading, show_json, show_sentences, show_table
from receiver.cli._reading import reading
from receiver.monitoring.explain import explain as explain_text
from receiver.settings import load


@click.command()
@click.argument("text", type=Text(), metavar="ANY")
@as_json
def explain(text: str, *, as_json: bool) -> None:
    """Explain what happened to a message, a delivery or a tracker.

    ANY is a message ID, a delivery ID, a tracking number, a tracker ID, a reference or a customer code, in upper or lower case.
    The beginning is enough, or the last six characters of a number, if nothing else matches.
    """
    settings = load()
    with reading(settings) as database:
        found = explain_text(database, settings.sources(), text)
    if as_json:
        show_json(found)
        return
    show_sentences(found["explanation"])
    if found["about"] == "message":
        _show_tables(found)
    elif found["about"] == "tracker":
        tracker = found["tracker"]
        click.echo(f"timeline: receiver trackers show {tracker['source']}/{tracker['tracker_id']}")


def _show_tables(found: dict[str, Any]) -> None:
    if found["events"]:
        show_heading("Events")
        rows = [(event["occurrence"], _verdict(event), event["status"], event["event_id"]) for event in found["events"]]
        show_table(("event time", "outcome", "status", "event"), rows, wrapped=["status", "event"])
    show_heading("Deliveries")
    deliveries = [(brief(each["delivery"]["received_at"]), each["delivery_id"], _verdict(each)) for each in found["deliveries"]]
    show_table((in_zone("received"), "delivery", "outcome"), deliveries, wrapped=["outcome"])


def _verdict(row: dict[str, Any]) -> str:
    return str(row["outcome"]) + (f" ({row['reason']})" if row["reason"] else "")
