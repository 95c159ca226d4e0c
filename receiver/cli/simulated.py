"""How a run of the simulator is shown: a line that moves while it sends, and the report."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from receiver.cli.output import coloured, show_heading, show_pairs, show_table
from receiver.testkit.simulate.report import Figure, Report
from receiver.testkit.simulate.sender import Progress

_PHASES = {"resend": "again", "ops": "ops API", "older": "questions 1", "newer": "questions 2"}
_TEST_CALL = {"200": "let in", "403": "refused: not on the list", "connection": "it could not be made from there"}
_PROBLEMS = {"connection": "no answer", "timeout": "not in time"}


@contextmanager
def telling() -> Iterator[Callable[[Progress], None]]:
    """Show a line on standard error that follows the run, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _progress: None
        return
    with Console(stderr=True).status("first calls") as status:
        yield lambda progress: status.update(Text(describe(progress)))


def describe(progress: Progress) -> str:
    """Return where a run is, in one line of less than 80 letters."""
    line = f"{_PHASES.get(progress.phase, progress.phase)}: {progress.done:,} of {progress.total:,}, {progress.retries:,} retries"
    return line + (f", {progress.waiting:,} waiting ({_name(progress.failure)})" if progress.waiting else "")


def show_report(source: str, seed: int, run: str, report: Report) -> None:
    """Print a report for people."""
    show_pairs(_sent(source, seed, run, report))
    show_heading("What became of it")
    show_table(("", "count", "how it is known"), _figures(report), wrapped=["how it is known"], numbers=["count"])
    show_heading("Latency from the due moment")
    show_pairs(_times(report))
    if report.examples:
        show_heading("Examples")
        rows = [(each["what"], each["id"], each["why"]) for each in report.examples]
        show_table(("", "id", "why"), rows, wrapped=["why"])
    if report.messages["outcomes"].keys() == {"duplicate"}:
        click.echo("Not one message was new: was this --run sent to this receiver before?")
    if report.interrupted:
        click.echo("Interrupted: what was lost, doubled or wrong is not known.")


def _sent(source: str, seed: int, run: str, report: Report) -> Iterator[tuple[str, str]]:
    calls, messages = report.calls, report.messages
    yield "run", f"{run} of {source}, seed {seed}"
    yield "HEAD", _name(report.head) + ("" if report.head == "200" else " (the vendor may not save this URL: it wants 200)")
    if report.test_call is not None:
        meaning = _TEST_CALL.get(report.test_call, "neither 200 nor 403")
        yield "test call", f"{_name(report.test_call)} from another address ({meaning})"
    part = f" of {calls['planned']:,}" if report.interrupted else ""
    yield "traffic", f"{calls['made']:,}{part} calls in {report.seconds:.1f} s ({report.rate:.1f} a second)"
    yield "messages", f"{messages['sent']:,} ({messages['with_copies']:,} with copies) of {messages['trackers']:,} trackers"
    yield "attempts", f"{calls['attempts']:,} with the resend and the questions, {calls['retries']:,} of them retries"
    yield "answers", ", ".join(f"{_name(answer)}: {count:,}" for answer, count in report.answers.items())
    yield "verdicts", ", ".join(f"{name}: {count:,}" for name, count in messages["outcomes"].items())


def _name(answer: str) -> str:
    return _PROBLEMS.get(answer, answer)


def _figures(report: Report) -> Iterator[tuple[Any, ...]]:
    calls = report.calls
    refused = coloured("refused", "warn" if calls["refused"] else "ok")
    yield "accepted", f"{calls['accepted']:,}", "attempts answered 2xx in time"
    yield refused, f"{calls['refused']:,}", f"attempts that failed; {calls['given_up']:,} calls were given up"
    yield from (_figure(name, getattr(report, name)) for name in ("lost", "doubled", "wrong"))


def _figure(name: str, figure: Figure) -> tuple[Any, ...]:
    outcome = "warn" if figure.value is None else "fail" if figure.value else "ok"
    count = "?" if figure.value is None else f"{figure.value:,}"
    return coloured(name, outcome), coloured(count, outcome), figure.how


def _times(report: Report) -> Iterator[tuple[str, str | None]]:
    for name, value in report.latency_ms.items():
        yield name.replace("_", "."), None if value is None else f"{value:,.1f} ms"
    if report.behind_ms >= 10:
        yield "late start", f"{report.behind_ms:,.1f} ms at most: all connections, or this machine, were busy"
    if report.recovery_seconds:
        yield "recovery", f"{report.recovery_seconds:,.1f} s at most from the first failure of a call to its success"
