"""Which targets there are, the settings' and the user's own functions; and the relay that serves them."""

from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager

from receiver.changes import Subscription
from receiver.errors import ConfigurationError
from receiver.gate import Secret
from receiver.relay.handlers import HandlerTarget, find_handlers, subscription_of
from receiver.relay.http import HttpTarget
from receiver.relay.jetstream import NatsTarget
from receiver.relay.lane import Do
from receiver.relay.relay import Relay
from receiver.relay.signature import Signer
from receiver.relay.target import AT_ONCE, Target
from receiver.settings import Settings
from receiver.targets import TargetSettings

_KINDS: dict[str, Callable[[TargetSettings, Sequence[Secret]], Target]] = {"http": HttpTarget, "nats": NatsTarget}


def read_subscriptions(settings: Settings) -> tuple[Subscription, ...]:
    """Return which changes each target wants.

    Raises ConfigurationError if a module cannot be had, a name is used twice, or a secret is missing.
    """
    for target in settings.targets:
        if target.kind == "http":
            Signer(target.name, _secrets_of(settings, target))
    handlers = find_handlers(settings.handlers)
    wanted = [target.subscription for target in settings.targets] + [subscription_of(function) for function in handlers]
    if len({subscription.target for subscription in wanted}) < len(wanted):
        raise ConfigurationError("RECEIVER_TARGETS and RECEIVER_HANDLERS: two targets have the same name.")
    return tuple(wanted)


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
