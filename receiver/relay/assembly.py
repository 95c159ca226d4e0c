"""Which targets there are, the settings' and the user's own functions; and the relay that serves them."""

from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager

from receiver.changes import Subscription
from receiver.errors import ConfigurationError
from receiver.relay.handlers import HandlerTarget, find_handlers, subscription_of
from receiver.relay.lane import Do
from receiver.relay.relay import Relay
from receiver.relay.target import Target
from receiver.settings import Settings
from receiver.targets import TargetSettings

_THREADS = 32


def read_subscriptions(targets: Sequence[TargetSettings], modules: Sequence[str]) -> tuple[Subscription, ...]:
    """Return which changes each target wants. Raises ConfigurationError if a module cannot be had, or a name is used twice."""
    wanted = [target.subscription for target in targets] + [subscription_of(function) for function in find_handlers(modules)]
    if len({subscription.target for subscription in wanted}) < len(wanted):
        raise ConfigurationError("RECEIVER_TARGETS and RECEIVER_HANDLERS: two targets have the same name.")
    return tuple(wanted)


@asynccontextmanager
async def relaying(settings: Settings, do: Do, watch_changes: Callable[[Callable[[], None]], None]) -> AsyncIterator[None]:
    """Serve all targets as long as the block lasts. `watch_changes` is given what is to be called when changes were made."""
    with ThreadPoolExecutor(_THREADS, "handler") as threads:
        relay = Relay(_make_targets(settings, threads), do)
        watch_changes(relay.wake)
        relay.start()
        try:
            yield
        finally:
            await relay.stop()


def _make_targets(settings: Settings, threads: Executor) -> list[Target]:
    return [HandlerTarget(function, threads) for function in find_handlers(settings.handlers)]
