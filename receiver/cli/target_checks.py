"""The checks of `receiver doctor` that concern targets: what waits, what fails, and whether anybody delivers it."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import urllib3

from receiver.cli.output import brief
from receiver.cli.remote import base_url
from receiver.errors import ConfigurationError
from receiver.relay.assembly import describe_targets, find_targets
from receiver.settings import Settings
from receiver.storage import queries
from receiver.storage.database import Database

_READY_SECONDS = 6.0


def check_targets(settings: Settings, database: Database) -> Iterator[tuple[str, str, str]]:
    """Give verdict, subject and finding for each target, and for the relay where something waits."""
    try:
        known = find_targets(settings)
    except ConfigurationError as error:
        yield "fail", "targets", error.message
        return
    described = describe_targets(known, queries.show_targets(database, [one.subscription.target for one in known]))
    for item in described:
        verdict, finding = _judge(item)
        yield verdict, f"target {item['name']}", finding + _count(item)
    if any(item["waiting"] for item in described):
        yield from _check_relay(settings)


def _judge(item: Mapping[str, Any]) -> tuple[str, str]:
    name = item["name"]
    if item["kind"] is None:
        return "warn", f"not in the settings; to remove its changes, run `receiver targets drop {name}`: "
    if item["stopped_at"] is not None:
        return "warn", f"stopped since {brief(item['stopped_at'])}; to resume it, run `receiver targets resume {name}`: "
    if item["failing_since"] is not None:
        error = (item["last_error"].strip().splitlines() or [""])[-1]
        return "warn", f"failing since {brief(item['failing_since'])} ({error}): "
    if item["dead"]:
        return "warn", f"to retry failed changes, run `receiver targets retry {name}`: "
    return "ok", ""


def _count(item: Mapping[str, Any]) -> str:
    waiting, dead = (f"{item[name]:,}" + ("+" if item[f"{name}_capped"] else "") for name in ("waiting", "dead"))
    oldest = f", the oldest since {brief(item['oldest_due_at'])}" if item["oldest_due_at"] else ""
    return f"{waiting} waiting{oldest}; {dead} failed"


def _check_relay(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Ask the service on this machine, whose readiness warns of a relay that does not run."""
    try:
        answer = urllib3.request("GET", f"{base_url(settings)}/readyz", retries=False, timeout=_READY_SECONDS)
        warnings = orjson.loads(answer.data)["warnings"]
    except (urllib3.exceptions.HTTPError, orjson.JSONDecodeError, KeyError, TypeError):
        yield "warn", "relay", "changes wait, and no service runs here to deliver them; start it with `receiver serve`"
        return
    if "relay" in warnings:
        yield "warn", "relay", "changes wait, and the relay does not run; look for relay_ended in the log"
    else:
        yield "ok", "relay", "running"
