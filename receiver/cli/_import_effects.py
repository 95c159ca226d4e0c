"""The effects of imports, as `deliveries import` shows them."""

from collections import Counter
from typing import Any

import click

from receiver.cli._errors import complain
from receiver.cli._output import show_heading, show_json_line, show_sentences, show_table
from receiver.cli._replay_effects import count_deliveries, show_rest, write_status, write_verdict
from receiver.domain.labels import count
from receiver.domain.verdicts import OUTCOMES

_SHOWN = 20  # rows in each table, and reports of bodies that cannot be read


class ImportEffects:
    """Effects of importing bodies, added one by one. Only the first ones are kept, as there may be very many.

    With `as_json`, each answer is printed at once, on a line of its own. `refused` is the number of bodies not imported.
    """

    def __init__(self, *, dry_run: bool, as_json: bool) -> None:
        self.dry_run = dry_run
        self.is_interrupted = False
        self.refused = 0
        self._as_json = as_json
        self._imported = 0
        self._trackers = 0
        self._outcomes: Counter[str] = Counter()
        self._message_rows: list[tuple[object, ...]] = []
        self._tracker_rows: list[tuple[object, ...]] = []
        self._warnings: list[str] = []

    @property
    def bodies(self) -> int:
        """Return the number of bodies so far."""
        return self._imported + self.refused

    def add(self, number: int, answer: dict[str, Any]) -> None:
        """Add the answer of the API to a body."""
        if self._as_json:
            show_json_line({"number": number, **answer})
        self._imported += 1
        self._trackers += len(answer["trackers"])
        self._outcomes.update({outcome: answer[outcome] for outcome in OUTCOMES})
        for position, message in enumerate(answer["messages"][: _SHOWN - len(self._message_rows)], 1):
            verdict = write_verdict({"reason": None, **message})
            self._message_rows.append((number, position, message["message_id"], verdict, message.get("detail")))
        for tracker in answer["trackers"][: _SHOWN - len(self._tracker_rows)]:
            self._tracker_rows.append((tracker["tracker_id"], write_status(tracker["before"]), write_status(tracker["after"])))
            self._warnings += [tracker["warning"]] if tracker["warning"] else []

    def refuse(self, number: int, reason: str) -> None:
        """Report a body that was not imported, and go on."""
        self.refused += 1
        if self._as_json:
            show_json_line({"number": number, "error": {"message": reason}})
        if self.refused <= _SHOWN:
            complain(f"body {number}: {reason}")

    def show(self) -> None:
        """Print the effects of all bodies."""
        if self._as_json:
            return
        received = sum(self._outcomes.values())
        if self._message_rows:
            self._show_messages()
            show_rest(received - len(self._message_rows), "message")
        if self._tracker_rows:
            show_heading("Trackers that would move" if self.dry_run else "Trackers that moved")
            show_table(("tracker", "before", "after"), self._tracker_rows, wrapped=["tracker", "before", "after"])
            show_rest(self._trackers - len(self._tracker_rows), "tracker")
        if self._warnings:
            show_heading("Warning")
            show_sentences(self._warnings)
        if self._message_rows:
            click.echo()
        self._show_total(received)

    def _show_messages(self) -> None:
        """Print the first messages; the number of the body only if there are several, and details only if there are any."""
        columns = ["body", "#", "message", "result", "detail"]
        rows = [list(row) for row in self._message_rows]
        if not any(row[-1] for row in rows):
            columns, rows = columns[:-1], [row[:-1] for row in rows]
        if self.bodies == 1:
            columns, rows = columns[1:], [row[1:] for row in rows]
        show_table(columns, rows, wrapped=["message", "result", "detail"], numbers=["body", "#"])

    def _show_total(self, received: int) -> None:
        outcomes = ", ".join(f"{self._outcomes[outcome]} {outcome}" for outcome in OUTCOMES if self._outcomes[outcome])
        found = f"{count(received, 'message')} in {count_deliveries(self._imported)}{f': {outcomes}' if outcomes else ''}."
        if self._imported:
            click.echo(f"Dry run: {found} Nothing was imported." if self.dry_run else f"Imported {found}")
        else:
            click.echo("Nothing was imported.")
        if self.refused:
            click.echo(f"{count(self.refused, 'body', 'bodies')} could not be imported.")
