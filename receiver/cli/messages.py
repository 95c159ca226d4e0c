"""The command `messages list`."""

from functools import partial
from typing import Any

import click

from receiver.cli._lists import Paging, paged, show_list
from receiver.cli._options import OneOf, Text, TimeParam, of_source, sorted_by_time
from receiver.cli._output import brief, coloured, in_zone
from receiver.cli._reading import reading
from receiver.domain.imports import ORIGINS
from receiver.domain.verdicts import OUTCOMES
from receiver.storage import queries


@click.group()
def messages() -> None:
    """List messages and their verdicts."""


@messages.command("list")
@click.option("--outcome", type=OneOf([queries.NOT_APPLIED, *OUTCOMES]), help="Only messages with this outcome.")
@click.option("--reason", type=Text(), help="Only this reason, such as older or missing_tracker_id.")
@of_source
@click.option("--origin", type=OneOf(ORIGINS), help="Only messages of deliveries that came this way.")
@click.option("--since", type=TimeParam(), help="Only later messages: 2026-01-31T12:00:00Z, 2026-01-31 or 24h.")
@click.option("--until", type=TimeParam(), help="Only earlier messages.")
@click.option("--tracking-number", type=Text(), help="Only messages for this tracking number.")
@sorted_by_time
@paged
def list_messages(*, paging: Paging, **filters: Any) -> None:
    """List messages by the time of their delivery.

    `--outcome not_applied` leaves out applied messages and exact copies of known ones.
    """
    columns = [in_zone("received"), "outcome", "tracker", "message ID"]
    with reading() as database:
        read = partial(queries.list_messages, database, queries.MessageFilter(**filters))
        show_list(read, paging, "messages", lambda items: (columns, list(map(_line, items)), columns[1:]))


def _line(item: dict[str, Any]) -> tuple[object, ...]:
    verdict = str(item["outcome"]) + (f" ({item['reason']})" if item["reason"] else "")
    tracker = item["tracking_number"] or item["tracker_id"] or "-"
    return brief(item["received_at"]), coloured(verdict, item["outcome"]), tracker, item["message_id"] or "-"
