"""The marks of `simulate` and `check`: options, the ops token that signs them, and the question where there is none."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from receiver.access.addresses import is_loopback
from receiver.access.bearer import Secret
from receiver.cli._output import confirm
from receiver.settings import load
from receiver.testkit.marking import Marker

_F = TypeVar("_F", bound=Callable[..., Any])
_UNMARKED = "Without an ops token this is not marked as a test. The receiver takes it for real messages, which reach its targets."


def markable(command: _F) -> _F:
    """Add the options about marks to a command: --hand-on and --unmarked."""
    hand_on = click.option("--hand-on", is_flag=True, help="Hand the changes of this test on to the targets.")
    unmarked = click.option("--unmarked", is_flag=True, help="Do not mark it as a test: it is taken for real messages.")
    return hand_on(unmarked(command))


def choose_marker(host: str, source: str, run: str, ops_token: Secret | None, *, hand_on: bool, unmarked: bool) -> Marker | None:
    """Return the maker of marks, or None if nothing is to be marked.

    Without a given ops token the first one of the settings is used for a receiver on this machine. Without any, the operator has
    to agree. Raises UsageError or Declined.
    """
    if unmarked:
        if hand_on:
            raise click.UsageError("Expected --hand-on or --unmarked, not both.", click.get_current_context())
        return None
    token = ops_token or _find_in_settings(host)
    if token is not None:
        return Marker(token, source, run, hand_on)
    confirm(f"{_UNMARKED} Send it?", f"{_UNMARKED} Give --ops-token, or add --unmarked.")
    return None


def _find_in_settings(host: str) -> Secret | None:
    known = load().ops_tokens if is_loopback(host) else ()
    return known[0] if known else None
