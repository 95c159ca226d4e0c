"""A sender to try a receiver with: it behaves as the vendors do, and knows what has to come of it."""

import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import click

from receiver.access.addresses import is_loopback
from receiver.cli.options import NumberParam, OneOf, as_json
from receiver.cli.output import show_json
from receiver.cli.sending import Digits, Elsewhere, Token, WebhookUrlParam, find_token
from receiver.cli.simulated import show_report, telling
from receiver.errors import ConfigurationError
from receiver.sources import NAMES
from receiver.testkit.simulate.planning import make_plan
from receiver.testkit.simulate.records import TrafficShape
from receiver.testkit.simulate.report import Report, make_report
from receiver.testkit.simulate.run import NotLetIn, SimulationOptions, run
from receiver.testkit.simulate.sender import SimulationTarget, retry_steps
from receiver.testkit.simulate.truth import OpsRefused

_ELSEWHERE = "127.0.0.2"  # the test call of the dashboard comes from another address; loopback has many
_MAX_CALLS = 200_000
_MAX_SECONDS = 1_000_000
_MAX_MESSAGES = 200_000  # all are planned before the first one is sent, and take about two thousand bytes each


@click.command()
@click.argument("url", type=WebhookUrlParam())
@click.option("--token", type=Token(), envvar="SIMULATE_TOKEN", help="Of the webhook; better as the variable SIMULATE_TOKEN.")
@click.option("--token-file", type=click.Path(path_type=Path), help="A file with the token; - is standard input.")
@click.option("--source", type=OneOf(NAMES), help="Sender to simulate (default: from the URL).")
@click.option("--manifest-url", type=WebhookUrlParam(), help="Shiipp: of manifests, if not `manifest-status` beside the URL.")
@click.option("--calls", type=click.IntRange(1, _MAX_CALLS), default=1000, show_default=True, help="To make, copies included.")
@click.option("--seconds", type=NumberParam(0, _MAX_SECONDS, min_open=True), help="For so long, in the place of --calls.")
@click.option("--rate", type=NumberParam(0.1, 10_000), default=50, show_default=True, help="Calls a second.")
@click.option("--group", type=click.IntRange(1, 100), default=10, show_default=True, help="Messages in a call, at most.")
@click.option(
    "--duplicates",
    type=NumberParam(0, 50),
    default=10,
    show_default=True,
    help="Percent of the calls that are copies; half of them parallel.",
)
@click.option(
    "--reorder", type=NumberParam(0, 100), default=20, show_default=True, help="Percent of the messages that come late."
)
@click.option("--connections", type=click.IntRange(1, 500), default=32, show_default=True, help="Open at a time, at most.")
@click.option(
    "--time-scale",
    type=NumberParam(0.0001, 1),
    default=0.001,
    show_default=True,
    help="Of the waits before retries; 1 is as the vendors do.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Decides every byte but the digits of the run.")
@click.option("--run", "digits", type=Digits(), help="Hexadecimal digits that keep runs apart; else random.")
@click.option(
    "--ops-token", type=Token(), envvar="SIMULATE_OPS_TOKEN", help="To compare with the ops API; or SIMULATE_OPS_TOKEN."
)
@click.option("--test-call-from", type=Elsewhere(), help="Address for Ship24's test call; on loopback 127.0.0.2.")
@as_json
def simulate(url: str, token: str | None, token_file: Path | None, *, as_json: bool, **options: Any) -> None:
    """Simulate Ship24 or Shiipp, and report the results.

    Groups, copies, late messages, all forms of times, retries; at the end everything again. Each call is due at its moment,
    whether the one before it was answered or not. Exit code 1 if anything was lost, doubled or ended wrong.
    """
    source = options["source"] or ("shiipp" if "shiipp" in urlsplit(url).path else "ship24")
    digits = options["digits"] or secrets.token_hex(4)
    report = _run(source, digits, _target(source, url, find_token(token, token_file), options), options)
    if as_json:
        show_json({"source": source, "seed": options["seed"], "run": digits, **report.as_json()})
    else:
        show_report(source, options["seed"], digits, report)
    if report.interrupted:
        raise KeyboardInterrupt
    if not report.is_good:
        raise click.exceptions.Exit(1)


def _run(source: str, digits: str, target: SimulationTarget, options: dict[str, Any]) -> Report:
    """Plan, send and judge. Raises NobodyThere; ConfigurationError for what would make every call fail."""
    plan = make_plan(source, options["seed"], digits, _shape(options))
    usual = _ELSEWHERE if source == "ship24" and _is_here(target.urls["tracking"]) else None
    order = SimulationOptions(options["ops_token"], options["test_call_from"] or usual)
    try:
        with telling() as tell:
            return make_report(plan, run(plan, target, order, tell))
    except (NotLetIn, OpsRefused) as error:
        raise ConfigurationError(error.message) from None


def _shape(options: dict[str, Any]) -> TrafficShape:
    calls = options["calls"]
    if options["seconds"] is not None:
        calls = max(1, round(options["seconds"] * options["rate"]))
    if calls * (options["group"] + 1) / 2 > _MAX_MESSAGES:
        raise click.UsageError(f"Too much to plan: at most {_MAX_MESSAGES:,} messages.", click.get_current_context())
    return TrafficShape(calls, *(options[name] for name in ("rate", "group", "duplicates", "reorder")))


def _target(source: str, url: str, token: str, options: dict[str, Any]) -> SimulationTarget:
    manifests = options["manifest_url"] or _beside(url)
    urls = {"tracking": url, "new-package": url, "manifest-status": manifests}
    return SimulationTarget(urls, token, retry_steps(source, options["time_scale"]), options["connections"])


def _beside(url: str) -> str:
    """Return the URL of manifests that stands beside that of packages."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    slash = "/" if parts.path.endswith("/") else ""
    return urlunsplit(parts._replace(path=f"{path.rpartition('/')[0]}/manifest-status{slash}"))


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return is_loopback(host) and ":" not in host
