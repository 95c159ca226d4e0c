"""The command `check`: test whether a receiver meets the rules of Ship24. Exit code 1 if it breaks one that it must meet."""

import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from receiver import clock
from receiver.access.addresses import is_loopback
from receiver.access.bearer import Secret
from receiver.cli._marking import choose_marker, markable
from receiver.cli._options import NumberParam, Text, as_json
from receiver.cli._output import advancing, show_heading, show_json, show_pairs, show_table
from receiver.domain.trimming import trim
from receiver.errors import ConfigurationError, ReceiverError
from receiver.project.files import read_first_line
from receiver.settings import Settings, load
from receiver.testkit.check.checking import Check, OpsAccess, Unreachable
from receiver.testkit.check.parcels import Parcels
from receiver.testkit.check.planning import make_plan
from receiver.testkit.check.records import CheckResult
from receiver.testkit.check.target import CheckTarget, read_target
from receiver.testkit.marking import NotMarked

_MAX_SECONDS = 60.0
_VENDOR_SECONDS = 15.0  # that Ship24 waits


class NoReceiver(ReceiverError):
    """No receiver answers at the URL."""


class Url(click.ParamType[CheckTarget]):
    """The URL of a receiver."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> CheckTarget:
        """Parse the URL. An error does not quote it: it may contain a secret."""
        if isinstance(value, CheckTarget):
            return value
        try:
            return read_target(trim(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


@click.command()
@click.argument("url", type=Url())
@click.option("--token", type=Text(), envvar="CHECK_TOKEN", help="The receiver's token. Safer in the variable CHECK_TOKEN.")
@click.option("--token-file", type=click.Path(path_type=Path), help="A file with the token, or - for standard input.")
@click.option("--expect-ops", is_flag=True, help="The receiver is this service: check verdicts and final states too.")
@click.option(
    "--ops-token",
    type=Text(),
    envvar="CHECK_OPS_TOKEN",
    help="Its ops token, which marks the test. Safer in the variable CHECK_OPS_TOKEN.",
)
@click.option("--ops-url", type=Url(), help="Base URL of its ops API, without /ops. Default: from the URL.")
@markable
@click.option("--token-in-query", is_flag=True, help="Also send the token in the URL once. It will appear in access logs.")
@click.option(
    "--timeout",
    type=NumberParam(0.1, _MAX_SECONDS),
    default=_VENDOR_SECONDS,
    show_default=True,
    help="Seconds to wait for a response. Ship24 waits 15.",
)
@click.option("--all", "whole", is_flag=True, help="Show details of all cases, not only of failures.")
@as_json
def check(
    url: CheckTarget,
    token: str | None,
    token_file: Path | None,
    *,
    expect_ops: bool,
    ops_token: str | None,
    ops_url: CheckTarget | None,
    token_in_query: bool,
    timeout: float,
    whole: bool,
    as_json: bool,
    **marking: bool,
) -> None:
    """Check a receiver of Ship24 webhooks, this one or any other.

    Posts events of invented parcels, whose tracking numbers start with CHECK. With an ops token they are marked as a test: this
    service hands them on to no target, does not count them, and deletes them with `prune --tests`.
    """
    parcels = Parcels(secrets.token_hex(4), clock.now())
    ops = _find_ops(url, ops_url, ops_token, expected=expect_ops)
    found = _find_token(url, token, token_file)
    given = None if ops_token is None else _read_token(ops_token, "the ops token")
    marker = choose_marker(url.host, "ship24", parcels.run, given, **marking)
    checking = Check(url, found, parcels, timeout, ops, marker)
    plan = make_plan(timeout, expect_ops=expect_ops, token_in_query=token_in_query)
    try:
        with advancing("checking", len(plan)) as advance:
            results = checking.run(plan, lambda: advance(1))
    except Unreachable as error:
        raise NoReceiver(f"No receiver answers at {url}: {error}.") from None
    except NotMarked as error:
        raise ConfigurationError(error.message) from None
    passed = not any(result.rule.severity == "must" and result.verdict in {"fail", "unknown"} for result in results)
    if as_json:
        show_json(_as_json(url, parcels, results, passed=passed))
    else:
        _show(url, parcels, results, whole=whole)
    if not passed:
        raise click.exceptions.Exit(1)


def _find_token(url: CheckTarget, given: str | None, file: Path | None) -> Secret:
    """Return the given token. Without one, use the first token of the settings for a receiver on this machine."""
    if given is not None and file is not None:
        raise click.UsageError("Expected --token (or CHECK_TOKEN) or --token-file, not both.", click.get_current_context())
    text = read_first_line(file) if file is not None else given
    if text is None:
        settings = _settings_for(url)
        known = settings.ship24_tokens if settings is not None else ()
        if not known:
            raise click.UsageError("Expected --token, --token-file or the variable CHECK_TOKEN.", click.get_current_context())
        return known[0]
    return _read_token(text, "the token")


def _find_ops(url: CheckTarget, ops_url: CheckTarget | None, given: str | None, *, expected: bool) -> OpsAccess | None:
    """Return the URL of the ops API and its token, which is found in the same way; None if it is not expected."""
    if not expected:
        if ops_url is not None:
            raise click.UsageError("--ops-url is for --expect-ops.", click.get_current_context())
        return None
    target = url.service() if ops_url is None else ops_url._replace(path=ops_url.path.rstrip("/"), query=None)
    if given is not None:
        return OpsAccess(target, _read_token(given, "the ops token"))
    settings = _settings_for(target)
    if settings is None or not settings.ops_tokens:
        raise click.UsageError("--expect-ops needs --ops-token or the variable CHECK_OPS_TOKEN.", click.get_current_context())
    return OpsAccess(target, settings.ops_tokens[0])


def _settings_for(url: CheckTarget) -> Settings | None:
    """Return the settings for a receiver on this machine. Other machines must not get our tokens."""
    return load() if is_loopback(url.host) else None


def _read_token(text: str, what: str) -> Secret:
    token = trim(text)
    if not token or not token.isprintable():
        raise click.UsageError(f"Expected {what} as one line of printable text.", click.get_current_context())
    return Secret("given", token)


def _as_json(url: CheckTarget, parcels: Parcels, results: Sequence[CheckResult], *, passed: bool) -> dict[str, Any]:
    return {
        "url": str(url),
        "prefix": parcels.prefix,
        "passed": passed,
        "counts": _count(results),
        "results": [{**result.rule._asdict(), "verdict": result.verdict, "seen": result.seen} for result in results],
    }


def _count(results: Sequence[CheckResult]) -> dict[str, int]:
    found = Counter(result.verdict for result in results)
    return {verdict: found[verdict] for verdict in ("pass", "fail", "warn", "unknown")}


def _show(url: CheckTarget, parcels: Parcels, results: Sequence[CheckResult], *, whole: bool) -> None:
    show_table(("", "case", "seen"), [(each.verdict, each.rule.name, each.seen) for each in results], wrapped=["seen"])
    for result in results:
        if whole or result.verdict in {"fail", "warn"}:
            show_heading(f"{result.verdict}: {result.rule.name}")
            rule = result.rule
            pairs = (("request", rule.does), ("expected", rule.expected), ("seen", result.seen), ("Ship24", rule.vendor))
            show_pairs([*pairs, ("page", rule.page)])
    counts = ", ".join(f"{count} {verdict}" for verdict, count in _count(results).items() if count)
    show_heading(f"{url}: {counts}")
    show_pairs([("left behind", f"trackers with numbers that start with {parcels.prefix}")])
