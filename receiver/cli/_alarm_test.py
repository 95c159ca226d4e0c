"""The command `alarms test`."""

from collections.abc import Mapping
from typing import Any

import click

from receiver.cli._options import as_json
from receiver.cli._output import show_json, show_table
from receiver.cli._remote import post
from receiver.errors import ReceiverError, WriterTaken
from receiver.settings import load

_TEST_SECONDS = 30.0  # more than any channel takes


@click.command()
@as_json
def test(*, as_json: bool) -> None:
    """Send a test notice through each channel.

    The running service sends it, with the settings that it has loaded. The exit code is 1 if a channel failed or there is none.
    """
    taken = WriterTaken("Test notices are sent by the running service.")
    channels = post(load(), "/ops/api/alarms/test", {}, taken, _TEST_SECONDS)["channels"]
    if as_json:
        show_json(channels)
    elif channels:
        show_table(("", "channel", "format", "result"), map(_result, channels), wrapped=["result"])
    if not channels:
        raise NothingToTest(
            "The running service has no channel for alarms. Set RECEIVER_ALARM_URL, RECEIVER_ALARM_COMMAND or "
            "RECEIVER_ALARM_SMTP_URL, and restart it."
        )
    if not all(channel["sent"] for channel in channels):
        click.get_current_context().exit(1)


class NothingToTest(ReceiverError):
    """No channel is configured."""


def _result(channel: Mapping[str, Any]) -> tuple[object, ...]:
    return "ok" if channel["sent"] else "fail", channel["channel"], channel["format"], channel["answer"]
