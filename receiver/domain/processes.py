"""The processes that run on one database, and whether they know the same targets. Pure."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

RECEIVER = "receiver"
RELAY = "relay"
"""The two roles. Receivers make changes for the targets that they know; relays deliver changes to those that they know."""

RUNNING_MICROS = 120_000_000
"""A process counts as running if it reported within this time. It reports every 30 seconds."""


class ProcessRow(NamedTuple):
    """A running process in one role: `receiver` (makes changes) or `relay` (delivers them to targets). A service has both.

    `id` is new at each start, `program` the version of the code, `seen_at` when the process last reported that it runs.
    `targets` are the names of the targets and handlers that it knows in this role; a JSON list in the table. `address` is the URL
    on which a receiver listens, `settings` the fingerprints of the settings that it loaded; an earlier version stores neither.
    """

    id: str
    role: str
    host: str
    process_id: int
    program: str
    started_at: int
    seen_at: int
    targets: tuple[str, ...]
    address: str | None = None
    settings: Mapping[str, str] = MappingProxyType({})


class Processes(NamedTuple):
    """The running processes, by role."""

    receivers: Sequence[ProcessRow] = ()
    relays: Sequence[ProcessRow] = ()

    def named_targets(self) -> set[str]:
        """Return the targets that any process knows."""
        return {name for row in (*self.receivers, *self.relays) for name in row.targets}

    def receiver_targets(self) -> set[str]:
        """Return the targets that changes are made for."""
        return {name for row in self.receivers for name in row.targets}


def find_mismatches(running: Processes, known: Collection[str], started_before: int) -> dict[str, str]:
    """Return a sentence about each target that some processes do not know, by target name, sorted.

    A target is missing if one receiver, or all relays together, do not know it: relays may divide the targets among themselves.
    Processes that started after `started_before` are not checked yet, because processes are restarted one after the other when
    settings change. They are checked for a target that is among the `known` mismatches.
    """
    found = {name: _find_mismatch(running, name, None if name in known else started_before) for name in running.named_targets()}
    return {name: finding for name, finding in sorted(found.items()) if finding is not None}


def find_local_mismatch(running: Processes, name: str, *, is_named: bool) -> str | None:
    """Describe the difference between this command's settings and the running processes for a target, or return None."""
    knowing = [row for row in (*running.receivers, *running.relays) if name in row.targets]
    if knowing and not is_named:
        return f"{describe_process(knowing[0])} knows {name} and the settings here do not name it"
    if is_named and not knowing and (running.receivers or running.relays):
        return f"the settings here name {name} and no running process knows it; restart the service with these settings"
    return None


def _find_mismatch(running: Processes, name: str, started_before: int | None) -> str | None:
    lacking = [row for row in running.receivers if name not in row.targets and _is_judged(row, started_before)]
    naming = [row for row in (*running.receivers, *running.relays) if name in row.targets and _is_judged(row, started_before)]
    if lacking and naming:
        result = f"changes that the latter makes are not delivered to {name}"
        return f"{describe_process(naming[0])} knows {name} and {describe_process(lacking[0])} does not, so {result}"
    relays = running.relays
    if naming and relays and all(name not in row.targets and _is_judged(row, started_before) for row in relays):
        return f"{describe_process(naming[0])} knows {name} and no running relay does, so its changes are not delivered"
    return None


def _is_judged(row: ProcessRow, started_before: int | None) -> bool:
    return started_before is None or row.started_at <= started_before


def local_url(host: str, port: int) -> str:
    """Return the URL for requests from this machine to a service that listens on an address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def describe_process(row: ProcessRow) -> str:
    """Return role, host and process id for people."""
    return f"the {row.role} at {row.host} (process {row.process_id})"
