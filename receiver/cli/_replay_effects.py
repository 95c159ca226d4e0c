"""The effects of replays, as `deliveries replay` shows them."""

from collections import Counter
from typing import Any

import click

from receiver.cli._errors import printable
from receiver.cli._output import show_heading, show_sentences, show_table
from receiver.domain.labels import count

_SHOWN = 20  # rows in each table


class Effects:
    """Effects of reprocessing deliveries, added one by one, printed as two tables and a total.

    `changing` are the IDs of the deliveries that change anything, `skipped` the others with the reasons. All details are
    kept only for JSON (`whole`), as there may be very many.
    """

    def __init__(self, *, whole: bool) -> None:
        self.changing: list[str] = []
        self.skipped: list[tuple[str, str]] = []
        self.is_interrupted = False
        self._whole = whole
        self._answers: list[dict[str, Any]] = []
        self._deliveries = 0
        self._unreadable = 0
        self._messages = 0
        self._trackers = 0
        self._message_rows: list[tuple[object, ...]] = []
        self._tracker_rows: list[tuple[object, ...]] = []
        self._warnings: list[str] = []

    def add(self, answer: dict[str, Any]) -> None:
        """Add the effects of one delivery, in the shape of the API."""
        self._deliveries += 1
        self._unreadable += answer["problem"] is not None
        if not answer["changed"]:
            return
        self.changing.append(answer["delivery_id"])
        if self._whole:
            self._answers.append(answer)
        items = [item for item in answer["items"] if item["before"] != item["after"]]
        self._messages += len(items)
        self._trackers += len(answer["trackers"])
        for item in items[: _SHOWN - len(self._message_rows)]:
            verdicts = write_verdict(item["before"]), write_verdict(item["after"])
            self._message_rows.append((answer["delivery_id"], item["position"] + 1, item["message_id"], *verdicts))
        for tracker in answer["trackers"][: _SHOWN - len(self._tracker_rows)]:
            self._tracker_rows.append((tracker["tracker_id"], write_status(tracker["before"]), write_status(tracker["after"])))
        warnings = (tracker.get("warning") for tracker in answer["trackers"])  # a service of an earlier version has none
        self._warnings += [warning for warning in warnings if warning]

    def show(self) -> None:
        """Print the effects before they happen."""
        if self._message_rows:
            columns = ("delivery", "#", "message", "now", "after")
            show_table(columns, self._message_rows, wrapped=["message", "now", "after"], numbers=["#"])
            show_rest(self._messages - len(self._message_rows), "message")
        if self._tracker_rows:
            show_heading("Trackers")
            show_table(("tracker", "now", "after"), self._tracker_rows, wrapped=["tracker", "now", "after"])
            show_rest(self._trackers - len(self._tracker_rows), "tracker")
        self._warn()
        if self._message_rows or self._tracker_rows:
            click.echo()
        self.show_total("would change", "would be updated", "would stay")

    def _warn(self) -> None:
        """Print that events in the future block later updates, and the way back."""
        number = len(self._warnings)
        if number:
            many = f"Dates in the future block all later updates of {number} trackers until then."
            show_heading("Warning")
            show_sentences([self._warnings[0] if number == 1 else many, "After the replay, --undo takes such an event back."])

    def show_total(self, changed: str, updated: str, stayed: str) -> None:
        """Print the numbers of deliveries, messages and trackers, with these verbs."""
        messages, deliveries = count(self._messages, "message"), count_deliveries(len(self.changing))
        trackers = count(self._trackers, "tracker")
        click.echo(f"{messages} of {deliveries} {changed}, {trackers} {updated}." if self.changing else f"Nothing {changed}.")
        if self._deliveries > len(self.changing):
            click.echo(f"{count_deliveries(self._deliveries - len(self.changing))} {stayed} as before.")
        if self._unreadable:
            click.echo(f"{count_deliveries(self._unreadable)} with an invalid body. Run `receiver explain ID` for the reason.")
        for reason, number in Counter(reason for _, reason in self.skipped).items():
            click.echo(f"Skipped: {count_deliveries(number)}. {printable(reason)}")

    def as_json(self) -> dict[str, Any]:
        """Return the effects in the shape of `--json`."""
        return {
            "deliveries": self._deliveries,
            "changed": len(self.changing),
            "items": self._answers,
            "skipped": [{"delivery_id": delivery_id, "reason": reason} for delivery_id, reason in self.skipped],
            "interrupted": self.is_interrupted,
        }


def show_rest(left: int, what: str) -> None:
    if left:
        click.echo(f"… and {count(left, what)} more")


def count_deliveries(number: int) -> str:
    """Return a number of deliveries, for people."""
    return count(number, "delivery", "deliveries")


def write_verdict(verdict: dict[str, Any] | None) -> str:
    if verdict is None:
        return "none"
    return str(verdict["outcome"]) + (f" ({verdict['reason']})" if verdict["reason"] else "")


def write_status(tracker: dict[str, Any] | None) -> str:
    if tracker is None:
        return "unknown"
    if tracker["latest_occurrence"] is None:
        return "no events"
    return f"{tracker['status_milestone'] or tracker['status'] or '-'} {tracker['latest_occurrence']}"
