"""The table of commands, and the group that imports a command only when it runs."""

import gc
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

COMPLETE_VARIABLE = "_RECEIVER_COMPLETE"
"""The environment variable in which the script of a shell asks for completions."""


class CommandEntry(NamedTuple):
    """A command: its name, its module in `receiver.cli`, its summary, and the section of `--help` that lists it.

    The summary is written down, so that `--help` and shell completion need not import the command.
    """

    name: str
    module: str
    summary: str
    section: str = "Commands"

    def load(self) -> click.Command:
        """Import and return the command. The module calls it by its name, with `_` for `-` and after a keyword of Python.

        The garbage collector is off meanwhile, and leaves alone what was imported: it would go through all modules again and
        again, and once more at the end, for a third of the time.
        """
        name = self.name.replace("-", "_")
        collects = gc.isenabled()
        gc.disable()
        try:
            module = import_module(f"receiver.cli.{self.module}")
        finally:
            gc.freeze()
            if collects:
                gc.enable()
        command = getattr(module, f"{name}_" if iskeyword(name) else name)
        assert isinstance(command, click.Command)
        return command


class LazyGroup(click.Group):
    """A group whose commands in `entries` are imported when they run. It may have others, which come first."""

    def __init__(self, *arguments: Any, entries: Sequence[CommandEntry], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.entries = {entry.name: entry for entry in entries}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return [*super().list_commands(ctx), *self.entries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or return None."""
        entry = self.entries.get(cmd_name)
        return super().get_command(ctx, cmd_name) if entry is None else entry.load()

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command to run, or name the most similar ones."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section."""
        summaries = self._summarize(ctx)
        width = max(map(len, summaries))
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, summary in summaries.items():
            section = self.entries[name].section if name in self.entries else "Commands"
            sections.setdefault(section, []).append((name.ljust(width), summary))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        """Return the commands and options that begin with the text."""
        found = [
            CompletionItem(name, help=summary) for name, summary in self._summarize(ctx).items() if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def _summarize(self, ctx: click.Context) -> dict[str, str]:
        """Return the summary of each command."""
        own = {name: command.get_short_help_str(100) for name, command in self.commands.items()}
        return {name: own.get(name) or self.entries[name].summary for name in self.list_commands(ctx)}


_SERVE, _LOOK, _CHANGE, _RECOVER, _TEST, _SHELL = "Serve", "Look", "Change", "Recover", "Test", "Shell"

COMMANDS = (
    CommandEntry("init", "init", "Create .env if there is none, and print the URLs.", _SERVE),
    CommandEntry("migrate", "migrate", "Upgrade the database schema (safe to repeat).", _SERVE),
    CommandEntry("serve", "serve", "Run the service until SIGTERM or Ctrl-C.", _SERVE),
    CommandEntry("relay", "relay", "Deliver changes to targets in a separate process.", _SERVE),
    CommandEntry("healthcheck", "healthcheck", "Ask the running service whether it is ready.", _SERVE),
    CommandEntry("doctor", "doctor", "Check configuration, database and server.", _LOOK),
    CommandEntry("explain", "explain", "Explain what happened to a message, a delivery or a tracker.", _LOOK),
    CommandEntry("trackers", "trackers", "List trackers and show their timelines.", _LOOK),
    CommandEntry("deliveries", "deliveries", "List, show, import and reprocess deliveries.", _LOOK),
    CommandEntry("messages", "messages", "List messages and their verdicts.", _LOOK),
    CommandEntry("quarantine", "quarantine", "List, retry, dismiss and reopen what could not be applied.", _LOOK),
    CommandEntry("stats", "stats", "Show traffic statistics.", _LOOK),
    CommandEntry("alarms", "alarms", "List alarms, and test how they are sent.", _LOOK),
    CommandEntry("audit", "audit", "List changes made by operators.", _LOOK),
    CommandEntry("downtime", "downtime", "List when deliveries may have been lost.", _LOOK),
    CommandEntry("changes", "changes", "List changes and their state for each target.", _LOOK),
    CommandEntry("targets", "targets", "List targets, and retry or remove their changes.", _LOOK),
    CommandEntry("customers", "customers", "List, import, export and restore customers for Shiipp.", _LOOK),
    CommandEntry("setup-window", "setup_window", "Temporarily accept SOURCE from any IP address.", _CHANGE),
    CommandEntry("prune", "prune", "Delete data past its retention period.", _CHANGE),
    CommandEntry("forget", "forget", "Delete the personal data of a tracker or of a person.", _CHANGE),
    CommandEntry("reconcile", "reconcile", "Find what never came at the vendor, and bring it in.", _RECOVER),
    CommandEntry("backup", "backup", "Copy the SQLite database into a file.", _RECOVER),
    CommandEntry("restore", "restore", "Put a copy in the place of the SQLite database.", _RECOVER),
    CommandEntry("rebuild", "rebuild", "Rebuild the database from stored deliveries.", _RECOVER),
    CommandEntry("simulate", "simulate", "Simulate Ship24 or Shiipp, and report the results.", _TEST),
    CommandEntry("check", "check", "Check a receiver of Ship24 webhooks, this one or any other.", _TEST),
    CommandEntry("completion", "completion", "Print the script that completes commands in SHELL.", _SHELL),
)
"""All commands, in the order of `--help`."""
