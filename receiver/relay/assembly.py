"""Which targets there are, the settings' and the user's own functions; and the relay that serves them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from typing import Any, NamedTuple

from receiver.changes import Subscription
from receiver.errors import ConfigurationError
from receiver.gate import Secret
from receiver.handlers import find_handlers, subscription_of
from receiver.relay.functions import HandlerTarget
from receiver.relay.http import HttpTarget
from receiver.relay.jetstream import NatsTarget
from receiver.relay.lane import Do
from receiver.relay.relay import Relay
from receiver.relay.signature import Signer
from receiver.relay.target import AT_ONCE, Target
from receiver.settings import Settings
from receiver.targets import TargetSettings

_KINDS: dict[str, Callable[[TargetSettings, Sequence[Secret]], Target]] = {"http": HttpTarget, "nats": NatsTarget}


class Known(NamedTuple):
    """A target of the settings: how it is spoken to (`http`, `nats`, `python`), and which changes it wants."""

    kind: str
    subscription: Subscription


def find_targets(settings: Settings) -> tuple[Known, ...]:
    """Return all targets. Raises ConfigurationError if a module cannot be had, or a name is used twice."""
    known = [Known(target.kind, target.subscription) for target in settings.targets]
    known += [Known("python", subscription_of(function)) for function in find_handlers(settings.handlers)]
    if len({one.subscription.target for one in known}) < len(known):
        raise ConfigurationError("RECEIVER_TARGETS and RECEIVER_HANDLERS: two targets have the same name.")
    return tuple(known)


def read_subscriptions(settings: Settings) -> tuple[Subscription, ...]:
    """Return which changes each target wants. Raises ConfigurationError also where a secret is missing."""
    for target in settings.targets:
        if target.kind == "http":
            Signer(target.name, _secrets_of(settings, target))
    return tuple(known.subscription for known in find_targets(settings))


def describe_targets(known: Sequence[Known], kept: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return for people and programs what the settings say of each target, and what is kept of it (`queries.show_targets`).

    Where something is kept of a target that the settings no longer name, its `kind` is None.
    """
    subscriptions = {one.subscription.target: one for one in known}
    described = []
    for name, state in kept.items():
        one = subscriptions.get(name, Known("", Subscription(name)))
        wanted = {
            "sources": None if one.subscription.sources is None else sorted(one.subscription.sources),
            "milestones": None if one.subscription.milestones is None else sorted(one.subscription.milestones),
            "milestone_changed": one.subscription.milestone_changed,
        }
        described.append({"name": name, "kind": one.kind or None, **wanted, **state})
    return described


@asynccontextmanager
async def relaying(settings: Settings, do: Do, watch_changes: Callable[[Callable[[], None]], None]) -> AsyncIterator[None]:
    """Serve all targets as long as the block lasts. `watch_changes` is given what is to be called when changes were made."""
    with ExitStack() as ending:
        relay = Relay(_make_targets(settings, ending), do)
        watch_changes(relay.wake)
        relay.start()
        try:
            yield
        finally:
            await relay.stop()


def _make_targets(settings: Settings, ending: ExitStack) -> list[Target]:
    targets = [_KINDS[target.kind](target, _secrets_of(settings, target)) for target in settings.targets]
    for function in find_handlers(settings.handlers):  # threads of its own: one that hangs takes none from the others
        threads = ending.enter_context(ThreadPoolExecutor(AT_ONCE, "handler"))
        targets.append(HandlerTarget(function, threads))
    return targets


def _secrets_of(settings: Settings, target: TargetSettings) -> tuple[Secret, ...]:
    return tuple(secret for secret in settings.target_secrets if secret.name == target.name)
