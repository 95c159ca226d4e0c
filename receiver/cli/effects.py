"""What deciding calls again changes, or would: collected call by call, shown as a small table and a total."""

from collections import Counter
from typing import Any

import click

from receiver.cli.complaints import printable
from receiver.cli.output import show_heading, show_table

_SHOWN = 20  # rows of each table


class Effects:
    """What some calls change. `changing` are the ids of those that change anything; `left_out` says why others cannot be decided.

    Every answer is kept only where all of it is wanted (`whole`): there may be very many.
    """

    def __init__(self, *, whole: bool) -> None:
        self.changing: list[str] = []
        self.left_out: list[tuple[str, str]] = []
        self.is_interrupted = False
        self._whole = whole
        self._answers: list[dict[str, Any]] = []
        self._calls = 0
        self._unreadable = 0
        self._messages = 0
        self._trackers = 0
        self._message_rows: list[tuple[object, ...]] = []
        self._tracker_rows: list[tuple[object, ...]] = []

    def add(self, answer: dict[str, Any]) -> None:
        """Take what one call changes, as the API tells it."""
        self._calls += 1
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
            verdicts = _verdict(item["before"]), _verdict(item["after"])
            self._message_rows.append((answer["delivery_id"], item["position"] + 1, item["message_id"], *verdicts))
        for moved in answer["trackers"][: _SHOWN - len(self._tracker_rows)]:
            self._tracker_rows.append((moved["tracker_id"], _standing(moved["before"]), _standing(moved["after"])))

    def show(self) -> None:
        """Print what would change."""
        if self._message_rows:
            columns = ("delivery", "#", "message", "now", "then")
            show_table(columns, self._message_rows, wrapped=["message", "now", "then"], numbers=["#"])
            _show_rest(self._messages - len(self._message_rows), "message")
        if self._tracker_rows:
            show_heading("Trackers")
            show_table(("tracker", "now", "then"), self._tracker_rows, wrapped=["tracker", "now", "then"])
            _show_rest(self._trackers - len(self._tracker_rows), "tracker")
        if self._message_rows or self._tracker_rows:
            click.echo()
        self.show_total("would change", "would move", "would stay")

    def show_total(self, changed: str, moved: str, stayed: str) -> None:
        """Print how many calls, messages and trackers there were, in these words."""
        messages, deliveries = _count(self._messages, "message"), _deliveries(len(self.changing))
        trackers = _count(self._trackers, "tracker")
        click.echo(f"{messages} of {deliveries} {changed}, {trackers} {moved}" if self.changing else f"nothing {changed}")
        if self._calls > len(self.changing):
            click.echo(f"{_deliveries(self._calls - len(self.changing))} {stayed} as before")
        if self._unreadable:
            click.echo(f"{_deliveries(self._unreadable)} with an invalid body: `receiver explain ID` says why")
        for reason, number in Counter(reason for _, reason in self.left_out).items():
            click.echo(f"Skipped: {_deliveries(number)}. {printable(reason)}")

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "calls": self._calls,
            "changed": len(self.changing),
            "items": self._answers,
            "left_out": [{"delivery_id": delivery_id, "reason": reason} for delivery_id, reason in self.left_out],
            "interrupted": self.is_interrupted,
        }


def _show_rest(left: int, what: str) -> None:
    if left:
        click.echo(f"… and {_count(left, what)} more")


def _deliveries(number: int) -> str:
    return "1 delivery" if number == 1 else f"{number} deliveries"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _verdict(verdict: dict[str, Any] | None) -> str:
    if verdict is None:
        return "not decided"
    return str(verdict["outcome"]) + (f" ({verdict['reason']})" if verdict["reason"] else "")


def _standing(standing: dict[str, Any] | None) -> str:
    if standing is None:
        return "not known"
    if standing["latest_occurrence"] is None:
        return "no event yet"
    return f"{standing['status_milestone'] or standing['status'] or '-'} {standing['latest_occurrence']}"
