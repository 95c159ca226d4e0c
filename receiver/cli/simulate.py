"""The command `simulate`: send what Ship24 or Shiipp would send, and compare the results with the expected ones."""

import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import click
from rich.console import Console
from rich.text import Text

from receiver.access.addresses import is_loopback, read_address
from receiver.access.bearer import Secret
from receiver.cli._marking import choose_marker, markable
from receiver.cli._options import NumberParam, OneOf, as_json
from receiver.cli._output import coloured, show_heading, show_json, show_pairs, show_table
from receiver.domain.trimming import trim
from receiver.errors import ConfigurationError
from receiver.project.files import read_first_line
from receiver.sources import NAMES
from receiver.testkit.marking import NotMarked
from receiver.testkit.simulate.comparison import OpsRefused
from receiver.testkit.simulate.planning import make_plan
from receiver.testkit.simulate.records import TrafficShape
from receiver.testkit.simulate.report import Figure, Report, make_report
from receiver.testkit.simulate.run import DeliveryRejected, SimulationOptions, run
from receiver.testkit.simulate.sender import Progress, SimulationTarget, retry_steps

_DASHBOARD_ADDRESS = "127.0.0.2"  # Ship24's dashboard sends its test delivery from another address; loopback has many
_MAX_CALLS = 200_000
_MAX_SECONDS = 1_000_000
_MAX_MESSAGES = 200_000  # all are planned before the first is sent, at about 2,000 bytes each
_PHASES = {"resend": "resend", "ops": "ops API", "older": "probes 1", "newer": "probes 2"}
_TEST_DELIVERY = {"200": "accepted", "403": "rejected: not on the allow list", "connection": "cannot connect from there"}
_PROBLEMS = {"connection": "no response", "timeout": "too late"}


class Token(click.ParamType[str]):
    """A bearer token. Errors do not quote it."""

    name = "token"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check that a header can carry the token."""
        text = trim(str(value))
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            self.fail("expected a token of printable ASCII characters without spaces.", param, ctx)
        return text


def find_token(given: str | None, file: Path | None) -> str:
    """Return the given token, or the first line of a file. Raises UsageError."""
    context = click.get_current_context()
    if given is not None and file is not None:
        raise click.UsageError("Expected --token or --token-file, not both.", context)
    if file is not None:
        return Token().convert(read_first_line(file), None, context)
    if given is None:
        raise click.UsageError("Expected --token, --token-file or the variable SIMULATE_TOKEN.", context)
    return given


class WebhookUrlParam(click.ParamType[str]):
    """An HTTP URL with a host and without a user."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the URL. An error does not quote it: it may contain a secret."""
        url = trim(str(value))
        try:
            parts = urlsplit(url)
            valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None and parts.port != 0
        except ValueError:
            valid = False
        if not valid or not url.isascii() or not url.isprintable() or " " in url:
            self.fail("expected an http or https URL without a user, such as http://127.0.0.1:8080/webhooks/ship24.", param, ctx)
        return url


class Digits(click.ParamType[str]):
    """Up to eight hexadecimal digits, padded to eight."""

    name = "run"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the digits."""
        text = trim(str(value)).lower()
        if not 1 <= len(text) <= 8 or set(text) - set("0123456789abcdef"):
            self.fail(f"{value!r}: expected up to eight hexadecimal digits.", param, ctx)
        return text.zfill(8)


class OwnAddress(click.ParamType[str]):
    """An IP address of this machine."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the address."""
        try:
            return str(read_address(trim(str(value))))
        except ValueError:
            self.fail(f"{value!r}: expected an IP address.", param, ctx)


@click.command()
@click.argument("url", type=WebhookUrlParam())
@click.option(
    "--token", type=Token(), envvar="SIMULATE_TOKEN", help="Token of the webhook. Safer in the variable SIMULATE_TOKEN."
)
@click.option("--token-file", type=click.Path(path_type=Path), help="A file with the token, or - for standard input.")
@click.option("--source", type=OneOf(NAMES), help="Sender to simulate (default: from the URL).")
@click.option("--manifest-url", type=WebhookUrlParam(), help="Shiipp: URL of manifests. Default: `manifest-status` beside URL.")
@click.option(
    "--calls", type=click.IntRange(1, _MAX_CALLS), default=1000, show_default=True, help="Deliveries to send, with copies."
)
@click.option("--seconds", type=NumberParam(0, _MAX_SECONDS, min_open=True), help="Duration, instead of --calls.")
@click.option("--rate", type=NumberParam(0.1, 10_000), default=50, show_default=True, help="Deliveries per second.")
@click.option("--group", type=click.IntRange(1, 100), default=10, show_default=True, help="Most messages in a delivery.")
@click.option(
    "--duplicates",
    type=NumberParam(0, 50),
    default=10,
    show_default=True,
    help="Percentage of deliveries that are copies. Half of them are sent in parallel.",
)
@click.option(
    "--reorder", type=NumberParam(0, 100), default=20, show_default=True, help="Percentage of messages that are sent late."
)
@click.option("--connections", type=click.IntRange(1, 500), default=32, show_default=True, help="Most connections at a time.")
@click.option(
    "--time-scale",
    type=NumberParam(0.0001, 1),
    default=0.001,
    show_default=True,
    help="Factor for the delays before retries. 1: the delays of the vendors.",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Seed of the content. The same seed sends the same bytes, except for --run.",
)
@click.option("--run", "digits", type=Digits(), help="Hexadecimal digits that distinguish runs. Default: random.")
@click.option(
    "--ops-token",
    type=Token(),
    envvar="SIMULATE_OPS_TOKEN",
    help="Mark the test, and compare with the ops API. Safer in the variable SIMULATE_OPS_TOKEN.",
)
@markable
@click.option("--test-call-from", type=OwnAddress(), help="IP address that sends Ship24's test delivery. On loopback: 127.0.0.2.")
@as_json
def simulate(url: str, token: str | None, token_file: Path | None, *, as_json: bool, **options: Any) -> None:
    """Simulate Ship24 or Shiipp, and report the results.

    Sends groups, copies, late messages and all forms of times, retries what fails, and sends everything again at the end. Each
    delivery is sent on time, even if there is no response to the one before. Exit code 1 if a message was lost, applied twice
    or ended in a wrong state.

    With an ops token everything is marked as a test: this service hands it on to no target, does not count it, and deletes it
    with `prune --tests`.
    """
    source = options["source"] or ("shiipp" if "shiipp" in urlsplit(url).path else "ship24")
    digits = options["digits"] or secrets.token_hex(4)
    report = _run(source, digits, _target(source, url, find_token(token, token_file), digits, options), options)
    if as_json:
        show_json({"source": source, "seed": options["seed"], "run": digits, **report.as_json()})
    else:
        show_report(source, options["seed"], digits, report)
    if report.interrupted:
        raise KeyboardInterrupt
    if not report.is_good:
        raise click.exceptions.Exit(1)


def _run(source: str, digits: str, target: SimulationTarget, options: dict[str, Any]) -> Report:
    """Plan, send and report. Raises ConfigurationError if every delivery would fail, and NoServer."""
    plan = make_plan(source, options["seed"], digits, _shape(options))
    usual = _DASHBOARD_ADDRESS if source == "ship24" and _is_here(target.urls["tracking"]) else None
    chosen = SimulationOptions(options["ops_token"], options["test_call_from"] or usual)
    try:
        with showing_progress() as show:
            return make_report(plan, run(plan, target, chosen, show))
    except (DeliveryRejected, NotMarked, OpsRefused) as error:
        raise ConfigurationError(error.message) from None


def _shape(options: dict[str, Any]) -> TrafficShape:
    calls = options["calls"]
    if options["seconds"] is not None:
        calls = max(1, round(options["seconds"] * options["rate"]))
    if calls * (options["group"] + 1) / 2 > _MAX_MESSAGES:
        raise click.UsageError(f"Too many messages: at most {_MAX_MESSAGES:,} can be planned.", click.get_current_context())
    return TrafficShape(calls, *(options[name] for name in ("rate", "group", "duplicates", "reorder")))


def _target(source: str, url: str, token: str, run: str, options: dict[str, Any]) -> SimulationTarget:
    manifests = options["manifest_url"] or _manifest_url(url)
    urls = {"tracking": url, "new-package": url, "manifest-status": manifests}
    ops_token = None if options["ops_token"] is None else Secret("given", options["ops_token"])
    marking = {name: options[name] for name in ("hand_on", "unmarked")}
    marker = choose_marker(urlsplit(url).hostname or "", source, run, ops_token, **marking)
    return SimulationTarget(urls, token, retry_steps(source, options["time_scale"]), options["connections"], marker=marker)


def _manifest_url(url: str) -> str:
    """Return the URL of manifests that belongs to a URL of packages."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    slash = "/" if parts.path.endswith("/") else ""
    return urlunsplit(parts._replace(path=f"{path.rpartition('/')[0]}/manifest-status{slash}"))


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return is_loopback(host) and ":" not in host


@contextmanager
def showing_progress() -> Iterator[Callable[[Progress], None]]:
    """Show the progress in one line if standard error is a terminal. Give a function that updates it."""
    if not sys.stderr.isatty():
        yield lambda _progress: None
        return
    with Console(stderr=True).status("starting") as status:
        yield lambda progress: status.update(Text(describe(progress)))


def describe(progress: Progress) -> str:
    """Return the progress of a run in fewer than 80 characters."""
    line = f"{_PHASES.get(progress.phase, progress.phase)}: {progress.done:,} of {progress.total:,}, {progress.retries:,} retries"
    return line + (f", {progress.waiting:,} waiting ({_name(progress.failure)})" if progress.waiting else "")


def show_report(source: str, seed: int, run: str, report: Report) -> None:
    """Print a report for people."""
    show_pairs(_sent(source, seed, run, report))
    show_heading("Results")
    show_table(("", "count", "evidence"), _figures(report), wrapped=["evidence"], numbers=["count"])
    show_heading("Latency, from the planned time")
    show_pairs(_times(report))
    if report.examples:
        show_heading("Examples")
        rows = [(each["what"], each["id"], each["why"]) for each in report.examples]
        show_table(("", "ID", "reason"), rows, wrapped=["reason"])
    if report.messages["outcomes"].keys() == {"duplicate"}:
        click.echo("All messages were duplicates. This --run was probably sent to this receiver before.")
    if report.interrupted:
        click.echo("Interrupted, so lost, doubled and wrong messages are unknown.")


def _sent(source: str, seed: int, run: str, report: Report) -> Iterator[tuple[str, str]]:
    calls, messages = report.calls, report.messages
    yield "run", f"{run} of {source}, seed {seed}"
    yield "HEAD", _name(report.head) + ("" if report.head == "200" else " (expected 200; the vendor may refuse to save this URL)")
    if report.test_call is not None:
        meaning = _TEST_DELIVERY.get(report.test_call, "neither 200 nor 403")
        yield "test delivery", f"{_name(report.test_call)} from another IP address ({meaning})"
    part = f" of {calls['planned']:,}" if report.interrupted else ""
    yield "traffic", f"{calls['made']:,}{part} deliveries in {report.seconds:.1f} s ({report.rate:.1f} per second)"
    yield "messages", f"{messages['sent']:,} ({messages['with_copies']:,} with copies) of {messages['trackers']:,} trackers"
    yield "attempts", f"{calls['attempts']:,} with resend and probes, {calls['retries']:,} of them retries"
    yield "responses", ", ".join(f"{_name(answer)}: {count:,}" for answer, count in report.answers.items())
    yield "verdicts", ", ".join(f"{name}: {count:,}" for name, count in messages["outcomes"].items())


def _name(answer: str) -> str:
    return _PROBLEMS.get(answer, answer)


def _figures(report: Report) -> Iterator[tuple[Any, ...]]:
    calls = report.calls
    failed = coloured("failed", "warn" if calls["refused"] else "ok")
    yield "accepted", f"{calls['accepted']:,}", "requests with a 2xx response in time"
    yield failed, f"{calls['refused']:,}", f"requests that failed; {calls['given_up']:,} deliveries failed after all retries"
    yield from (_figure(name, getattr(report, name)) for name in ("lost", "doubled", "wrong"))


def _figure(name: str, figure: Figure) -> tuple[Any, ...]:
    outcome = "warn" if figure.value is None else "fail" if figure.value else "ok"
    count = "?" if figure.value is None else f"{figure.value:,}"
    return coloured(name, outcome), coloured(count, outcome), figure.how


def _times(report: Report) -> Iterator[tuple[str, str | None]]:
    for name, value in report.latency_ms.items():
        yield name.replace("_", "."), None if value is None else f"{value:,.1f} ms"
    if report.behind_ms >= 10:
        yield "late start", f"{report.behind_ms:,.1f} ms at most: all connections or this machine were busy"
    if report.recovery_seconds:
        yield "recovery", f"{report.recovery_seconds:,.1f} s at most from the first failure of a delivery to its success"
