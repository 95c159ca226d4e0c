"""The reference pages, made from the code when the documentation is built.

A page under `docs/reference/` holds its introduction and one line `<!-- made: NAME -->`; the table of that name takes its place.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import click
from prometheus_client.metrics_core import Metric

from receiver.cli import commands

_PLACE = re.compile(r"^<!-- made: (\w+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the made parts into a page. Raises KeyError for a name that nothing makes."""
    return _PLACE.sub(lambda place: MAKERS[place[1]](), markdown)


def make_commands() -> str:
    """Return the help of every command, as headings and code blocks."""
    return "\n".join(_describe(commands, click.Context(commands, info_name="receiver"), 2))


def _describe(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    if level > 2 or not isinstance(command, click.Group):
        yield f"{'#' * level} `{context.command_path}`\n"
        yield f"```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _describe(child, click.Context(child, info_name=name, parent=context, max_content_width=80), level + 1)


MAKERS: dict[str, Callable[[], str]] = {"commands": make_commands}
