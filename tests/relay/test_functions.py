"""A handler that cannot be called fails at once, whatever kind of function it is."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from receiver.handlers import on_change
from receiver.relay.functions import HandlerFailed, HandlerTarget
from receiver.relay.process_health import ProcessHealth
from tests.harness.changes import change
from tests.harness.service import DEADLINE_SECONDS
from tests.harness.table import each_row


async def takes_nothing() -> None:
    """Do nothing."""


async def takes_two(_change: object, _shop: object) -> None:
    """Do nothing."""


class Awaiting:
    async def __call__(self) -> None:
        """Do nothing."""


@each_row("function", [takes_nothing, takes_two, lambda: None, partial(takes_two), Awaiting(), partial(int)])
def test_a_handler_with_a_wrong_signature_fails_at_once(function: Callable[..., Any]) -> None:
    handler = HandlerTarget(on_change()(function), DEADLINE_SECONDS, ProcessHealth(1, lambda: None))

    async def run() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await handler.deliver(change())

    with pytest.raises(HandlerFailed, match="TypeError"):
        asyncio.run(run())
