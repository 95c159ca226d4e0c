"""The checks of `receiver doctor` that concern targets: what waits, what fails, and whether anybody delivers it."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import urllib3

from receiver import clock
from receiver.cli.output import brief
from receiver.cli.remote import base_url
from receiver.domain.processes import describe_process
from receiver.errors import ConfigurationError
from receiver.relay.assembly import describe_targets, find_targets
from receiver.settings import Settings
from receiver.storage import queries
from receiver.storage.database import Database

_READY_SECONDS = 6.0
_MAX_SHOWN = 3


def check_targets(settings: Settings, database: Database) -> Iterator[tuple[str, str, str]]:
    """Give verdict, subject and finding for each target, and for the relay where something waits."""
    try:
        known = find_targets(settings)
    except ConfigurationError as error:
        yield "fail", "targets", error.message
        return
    described = describe_targets(database, known)
    for item in described:
        verdict, finding = _judge(item)
        yield verdict, f"target {item['name']}", finding + _count(item)
    if any(item["waiting"] for item in described):
        yield _check_relay(settings, database)


def _judge(item: Mapping[str, Any]) -> tuple[str, str]:
    name = item["name"]
    if item["mismatch"] is not None:
        return "warn", f"settings differ, {item['mismatch']}: "
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


def _check_relay(settings: Settings, database: Database) -> tuple[str, str, str]:
    """Look for a relay that was seen, and ask the service on this machine, whose readiness warns of one that does not run."""
    now = clock.to_micros(clock.now())
    relays = queries.read_processes(database, now).relays
    warnings = _ask_warnings(settings)
    if warnings is not None and "relay" in warnings:
        return "warn", "relay", "changes wait, and the relay does not run; look for relay_ended in the log"
    if not relays or (warnings is None and database.has_one_writer):
        return "warn", "relay", "changes wait, and no relay is running to deliver them; start the service with `receiver serve`"
    seen = ", ".join(f"{describe_process(row)}, seen {(now - row.seen_at) / 1e6:.0f} s ago" for row in relays[:_MAX_SHOWN])
    return "ok", "relay", f"{len(relays)} running: {seen}"


def _ask_warnings(settings: Settings) -> list[str] | None:
    """Return the warnings of the service on this machine; None: it does not answer."""
    try:
        answer = urllib3.request("GET", f"{base_url(settings)}/readyz", retries=False, timeout=_READY_SECONDS)
        return list(orjson.loads(answer.data)["warnings"])
    except (urllib3.exceptions.HTTPError, orjson.JSONDecodeError, KeyError, TypeError):
        return None
