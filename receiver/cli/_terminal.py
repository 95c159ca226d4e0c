"""The terminal, if there is one, and the time zone in which a command shows and reads times."""

import os
import sys
from datetime import UTC, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from receiver import clock

_IN_UTC = "receiver.in_utc"


class TableCell(NamedTuple):
    """A text without control characters, and its colour on a terminal: a style of rich, or none."""

    text: str
    style: str


def on_terminal() -> bool:
    """Return whether standard output is a terminal. A value of COLUMNS counts as one."""
    return sys.stdout.isatty() or bool(os.environ.get("COLUMNS"))


def choose_utc(context: click.Context, _option: click.Parameter, value: Any) -> Any:
    """Show and read the times of this command in UTC if an option is set."""
    if value:
        context.meta[_IN_UTC] = True
    return value


def shown_zone() -> tzinfo:
    """Return the zone in which this command shows and reads times: local on a terminal, UTC with --utc, --json or a pipe."""
    context = click.get_current_context(silent=True)
    in_utc = context is not None and _IN_UTC in context.meta
    return UTC if in_utc or not on_terminal() else _local_zone()


def zone_name() -> str:
    """Return a short name of the shown zone: UTC, or the city of the time zone database, such as Berlin."""
    zone = shown_zone()
    abbreviation = clock.now().astimezone(zone).tzname() or ""
    key = getattr(zone, "key", None) or ""
    if abbreviation == "UTC" or not key or key.startswith("Etc/"):
        return abbreviation
    return str(key).rpartition("/")[2].replace("_", " ")


def _local_zone() -> tzinfo:
    """Return the machine's time zone. Without a name in the time zone database, it is the offset from UTC of now."""
    name = os.environ.get("TZ", "").removeprefix(":") or os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return clock.now().astimezone().tzinfo or UTC
