"""The checks of `doctor` on senders, the running service and targets."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import urllib3

from receiver import clock
from receiver.access import probe
from receiver.access.addresses import is_listed, read_address
from receiver.access.bearer import MIN_TOKEN_CHARACTERS, AccessPolicy, AddressPolicy
from receiver.cli._output import zoned
from receiver.cli._remote import ask_readiness, base_url
from receiver.domain.processes import ProcessRow, describe_process
from receiver.domain.tokens import TokenUse, find_replacement
from receiver.relay.assembly import ConfiguredTarget, describe_targets
from receiver.settings import Settings
from receiver.sources import NAMES, Source
from receiver.storage import queries
from receiver.storage.database import Database

_READY_SECONDS = 6.0
_MAX_SHOWN = 3
_LOOPBACK = read_address("127.0.0.1")


class Finding(NamedTuple):
    """Result of a check: `verdict` is `ok`, `warn` or `fail`."""

    verdict: str
    subject: str
    finding: str


def check_sources(settings: Settings, database: Database | None) -> Iterator[Finding]:
    windows = {} if database is None else queries.setup_windows(database)
    for name in NAMES:
        access_policy = settings.access_policy(name)
        if not access_policy.tokens:
            yield Finding("warn", name, f"off: RECEIVER_{name.upper()}_TOKENS is not set")
            continue
        if database is not None:
            with database.read() as connection:
                last = queries.read_last_delivery(connection, name)
            yield Finding("ok", f"{name} deliveries", f"last delivery {zoned(last)}" if last else "no delivery yet")
        yield from _check_tokens(name, access_policy, database)
        yield _check_addresses(name, access_policy)
        if windows.get(name, 0) > clock.to_micros(clock.now()):
            yield Finding(
                "warn", f"{name} window", f"deliveries from any IP address are accepted until {clock.iso(windows[name])}"
            )


def _check_tokens(source: str, access_policy: AccessPolicy, database: Database | None) -> Iterator[Finding]:
    """Yield a finding for each token: its last use, and whether it can be removed."""
    named = [(token.name, token.fingerprint) for token in access_policy.tokens]
    uses = [] if database is None else queries.describe_tokens(database, source, named)
    for place, token in enumerate(access_policy.tokens):
        short = len(token.reveal()) < MIN_TOKEN_CHARACTERS
        when = _describe_use(uses[place], uses) if uses else "use unknown"
        text = f"{token.name}, {when}" + (": too short, could be guessed" if short else "")
        yield Finding("warn" if short else "ok", f"{source} token", text)


def _describe_use(token: TokenUse, tokens: Sequence[TokenUse]) -> str:
    since = "" if token.known_since is None else f" since {_minute(token.known_since)}"
    used = f"never used{since}" if token.used_at is None else f"last used {_minute(token.used_at)}"
    replacement = find_replacement(token, tokens)
    return used if replacement is None else f"{used}; replaced by {replacement}, safe to remove"


def _minute(micros: int) -> str:
    return f"{clock.iso(micros)[:16]}Z"


def _check_addresses(source: str, access_policy: AccessPolicy) -> Finding:
    listed = ", ".join(str(network).removesuffix("/32").removesuffix("/128") for network in access_policy.networks) or "none"
    open_policy = access_policy.policy is not AddressPolicy.ENFORCE
    near = is_listed(_LOOPBACK, access_policy.networks)
    note = "; 127.0.0.1 is on the allow list. Remove it if a reverse proxy runs on this machine" if near else ""
    verdict = "warn" if near or (open_policy and access_policy.networks) else "ok"
    return Finding(verdict, f"{source} addresses", f"{access_policy.policy}: {listed}{note}")


def try_server(settings: Settings, services: Sequence[ProcessRow]) -> Iterator[Finding]:
    base = base_url(settings, services)
    for source in settings.sources():
        url = f"{base}{source.path}"
        try:
            yield from _try_path(settings, source, url)
        except urllib3.exceptions.HTTPError as error:
            yield Finding("fail", f"HEAD {source.path}", f"no answer at {url} ({type(error).__name__})")


def _try_path(settings: Settings, source: Source, url: str) -> Iterator[Finding]:
    """Try HEAD, then POST. The POST is a probe (`receiver/access/probe.py`), which the service does not store."""
    headers = _make_headers(settings, source)
    head = urllib3.request("HEAD", url, headers=headers, retries=False, timeout=5.0)
    yield Finding("ok" if head.status == 200 else "fail", f"HEAD {source.path}", f"{head.status}, expected 200")
    if not settings.access_policy(source.name).tokens:
        return
    if not settings.ops_tokens:
        yield Finding(
            "warn",
            f"POST {source.path}",
            "not tried: set RECEIVER_OPS_TOKENS; without it the request would be stored as a delivery",
        )
    elif head.headers.get(probe.HEADER) != probe.ACCEPTED:
        other = "the running service has other tokens than these settings or is an older version; restart it"
        yield Finding("warn", f"POST {source.path}", f"not tried: {other}")
    else:
        response = urllib3.request("POST", url, body=source.empty_body, headers=headers, retries=False, timeout=15.0)
        yield Finding(
            "ok" if response.status in {200, 403} else "fail", f"POST {source.path}", _explain_status(response.status, source)
        )


def _make_headers(settings: Settings, source: Source) -> dict[str, str]:
    headers = {"user-agent": "receiver doctor"}
    tokens = settings.access_policy(source.name).tokens
    if tokens and settings.ops_tokens:
        headers["authorization"] = f"Bearer {tokens[0].reveal()}"
        sent = headers["authorization"].encode()
        headers[probe.HEADER] = probe.sign_probe(settings.ops_tokens[0], source.path, [sent], clock.now())
    return headers


def _explain_status(status: int, source: Source) -> str:
    """Return the meaning of a response to a probe, and what to do."""
    setting = f"RECEIVER_{source.name.upper()}"
    if status == 403:
        return (
            f"403: the token is valid; this IP address is not in {setting}_ALLOWED_IPS. To test from here, run `receiver "
            f"setup-window {source.name}` first"
        )
    meanings = {
        401: f"the running service does not know the first token of {setting}_TOKENS; restart it with these settings",
        404: f"{source.name} is off in the running service; restart it with these settings",
    }
    return f"{status}: {meanings[status]}" if status in meanings else f"{status}, expected 200"


def check_targets(settings: Settings, database: Database, known: Sequence[ConfiguredTarget]) -> Iterator[Finding]:
    """Yield a finding for each target, and one for the relay if changes wait."""
    described = describe_targets(database, known)
    for item in described:
        verdict, finding = _judge(item)
        yield Finding(verdict, f"target {item['name']}", finding + _count(item))
    if any(item["waiting"] for item in described):
        yield _check_relay(settings, database)


def _judge(item: Mapping[str, Any]) -> tuple[str, str]:
    name = item["name"]
    if item["mismatch"] is not None:
        return "warn", f"settings differ, {item['mismatch']}: "
    if item["kind"] is None:
        return "warn", f"not in the settings; to remove its changes, run `receiver targets drop {name}`: "
    for state in ("paused", "stopped"):
        if item[f"{state}_at"] is not None:
            return "warn", f"{state} since {zoned(item[f'{state}_at'])}; to resume it, run `receiver targets resume {name}`: "
    if item["failing_since"] is not None:
        error = (item["last_error"].strip().splitlines() or [""])[-1]
        return "warn", f"failing since {zoned(item['failing_since'])} ({error}): "
    if item["dead"]:
        return "warn", f"to retry failed changes, run `receiver targets retry {name}`: "
    return "ok", ""


def _count(item: Mapping[str, Any]) -> str:
    waiting, dead = (f"{item[name]:,}" + ("+" if item[f"{name}_capped"] else "") for name in ("waiting", "dead"))
    oldest = f", the oldest since {zoned(item['oldest_due_at'])}" if item["oldest_due_at"] else ""
    return f"{waiting} waiting{oldest}; {dead} failed"


def _check_relay(settings: Settings, database: Database) -> Finding:
    """Look for a running relay in the database, and in the readiness of the service on this machine."""
    now = clock.to_micros(clock.now())
    relays = queries.read_processes(database, now).relays
    readiness = ask_readiness(settings, _READY_SECONDS)
    if readiness is not None and "relay" in readiness.get("warnings", ()):
        return Finding("warn", "relay", "changes are waiting, but the relay does not run; look for relay_ended in the log")
    if not relays or (readiness is None and database.has_one_writer):
        return Finding("warn", "relay", "changes are waiting, but no relay is running; start the service with `receiver serve`")
    seen = ", ".join(f"{describe_process(row)}, seen {(now - row.seen_at) / 1e6:.0f} s ago" for row in relays[:_MAX_SHOWN])
    return Finding("ok", "relay", f"{len(relays)} running: {seen}")
