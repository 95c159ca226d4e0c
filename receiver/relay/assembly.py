"""The targets: those of the settings, and the user's handlers."""

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import chdir, redirect_stdout
from typing import Any, NamedTuple

from receiver import clock
from receiver.access.bearer import Secret
from receiver.domain.changes import Subscription
from receiver.domain.processes import find_local_mismatch, find_mismatches
from receiver.errors import ConfigurationError
from receiver.handlers import find_handlers, has_handlers, subscription_of
from receiver.relay.functions import HandlerTarget
from receiver.relay.process_health import ProcessHealth
from receiver.relay.signature import Signer
from receiver.relay.target import Target
from receiver.settings import Settings
from receiver.settings.targets import TargetSettings
from receiver.storage import queries
from receiver.storage.database import Database


def _make_http(settings: TargetSettings, secrets: Sequence[Secret]) -> Target:
    from receiver.relay.http import HttpTarget  # noqa: PLC0415  it takes 40 ms, and commands that list make no target

    return HttpTarget(settings, secrets)


def _make_nats(settings: TargetSettings, secrets: Sequence[Secret]) -> Target:
    from receiver.relay.nats import NatsTarget  # noqa: PLC0415  it takes 9 MiB, and few services use it

    return NatsTarget(settings, secrets)


_KINDS: dict[str, Callable[[TargetSettings, Sequence[Secret]], Target]] = {"http": _make_http, "nats": _make_nats}

HANDLER = "python"
"""The kind of a target that is a handler."""


class ConfiguredTarget(NamedTuple):
    """A configured target: its kind (`http`, `nats`, `python`) and its subscription."""

    kind: str
    subscription: Subscription


def find_targets(settings: Settings) -> tuple[ConfiguredTarget, ...]:
    """Return all targets for a command. What the user's modules print at import goes to standard error; the folder stays.

    Raises ConfigurationError as `import_targets` does.
    """
    with redirect_stdout(sys.stderr), chdir("."):
        return import_targets(settings)


def import_targets(settings: Settings) -> tuple[ConfiguredTarget, ...]:
    """Return all targets.

    Raises ConfigurationError for a module that fails, a missing secret, a name that is used twice, or an unknown source.
    """
    for target in settings.targets:
        if target.kind == "http":
            Signer(target.name, _secrets_of(settings, target))
    known = [ConfiguredTarget(target.kind, target.subscription) for target in settings.targets]
    known += [
        ConfiguredTarget(HANDLER, subscription_of(function))
        for function in find_handlers(settings.handlers, settings.project.folder)
    ]
    if len({one.subscription.target for one in known}) < len(known):
        raise ConfigurationError("RECEIVER_TARGETS and RECEIVER_HANDLERS: two targets have the same name.")
    sources = sorted({source.name for source in settings.sources()})
    for name, wanted in ((one.subscription.target, one.subscription.sources) for one in known):
        if unknown := sorted((wanted or set()) - {*sources}):
            raise ConfigurationError(f"RECEIVER_HANDLERS: {name}: the source {unknown[0]} is not one of {', '.join(sources)}.")
    return tuple(known)


def read_subscriptions(settings: Settings) -> tuple[Subscription, ...]:
    """Return the subscription of each target. Raises ConfigurationError as `find_targets` does."""
    return tuple(known.subscription for known in find_targets(settings))


def describe_targets(database: Database, known: Sequence[ConfiguredTarget]) -> list[dict[str, Any]]:
    """Return the settings of each target and its stored state (`queries.show_targets`), for people and programs.

    `kind` is None for a target that only the database or a running process knows. `mismatch` says which processes know the target
    and which do not; None: all do.
    """
    now = clock.to_micros(clock.now())
    running = queries.read_processes(database, now)
    mismatches = find_mismatches(running, (), now)
    subscriptions = {one.subscription.target: one for one in known}
    described = []
    for name, state in queries.show_targets(database, [*subscriptions, *sorted(running.named_targets())]).items():
        one = subscriptions.get(name, ConfiguredTarget("", Subscription(name)))
        wanted = {
            "sources": None if one.subscription.sources is None else sorted(one.subscription.sources),
            "milestones": None if one.subscription.milestones is None else sorted(one.subscription.milestones),
            "milestone_changed": one.subscription.milestone_changed,
            "basis": one.subscription.basis,
        }
        mismatch = mismatches.get(name) or find_local_mismatch(running, name, is_named=name in subscriptions)
        described.append({"name": name, "kind": one.kind or None, **wanted, **state, "mismatch": mismatch})
    return described


def has_targets(settings: Settings) -> bool:
    """Return whether there may be targets, without importing the user's code."""
    return bool(settings.targets) or has_handlers(settings.handlers)


def target_names(known: Iterable[ConfiguredTarget]) -> tuple[str, ...]:
    """Return the names of the targets, handlers included."""
    return tuple(one.subscription.target for one in known)


def handler_names(known: Iterable[ConfiguredTarget]) -> list[str]:
    """Return the names of the handlers."""
    return [one.subscription.target for one in known if one.kind == HANDLER]


def make_targets(settings: Settings, health: ProcessHealth, *, only_handlers: bool) -> list[Target]:
    """Return the targets that a relay process serves: all, or the handlers only."""
    seconds = settings.handler_timeout_seconds
    handlers: list[Target] = [
        HandlerTarget(function, seconds, health) for function in find_handlers(settings.handlers, settings.project.folder)
    ]
    if only_handlers:
        return handlers
    return [*(_KINDS[target.kind](target, _secrets_of(settings, target)) for target in settings.targets), *handlers]


def _secrets_of(settings: Settings, target: TargetSettings) -> tuple[Secret, ...]:
    return tuple(secret for secret in settings.target_secrets if secret.name == target.name)
