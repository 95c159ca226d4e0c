"""Repeated background work that survives a failed step."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from logging import ERROR, WARNING

import structlog

from receiver.errors import ReceiverError, name_error
from receiver.logs.outage import Outage

_log = structlog.get_logger()


async def repeat(
    failure: str, step: Callable[[], Awaitable[float]], *, first_seconds: float = 0.0, again_seconds: float = 30.0
) -> None:
    """Run `step` until this task is cancelled. A step returns the seconds to wait before the next one.

    After a step that raises, the next one comes after `again_seconds`. Each cause is logged once, as the event `failure`, until a
    step succeeds.
    """
    seconds = first_seconds
    outage = Outage()
    while True:
        await asyncio.sleep(seconds)
        try:
            seconds = await step()
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            _report(failure, error, outage)  # cancelled inside the step; this task was not
            seconds = again_seconds
        except Exception as error:
            _report(failure, error, outage)
            seconds = again_seconds
        else:
            if outage.end():
                _log.info("work_resumed", after=failure)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _report(failure: str, error: BaseException, outage: Outage) -> None:
    with suppress(Exception):  # a failing log must not end the work
        known = isinstance(error, ReceiverError)
        cause = error.message if isinstance(error, ReceiverError) else name_error(error)
        if outage.begin(cause):
            _log.log(WARNING if known else ERROR, failure, cause=cause, exc_info=None if known else error)
