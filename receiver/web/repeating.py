"""Background work that goes on, whatever happens to one step of it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from receiver.errors import ReceiverError

_log = structlog.get_logger()


async def repeat(
    failure: str, step: Callable[[], Awaitable[float]], *, first_seconds: float = 0.0, again_seconds: float = 30.0
) -> None:
    """Run `step` until this task is cancelled. A step returns for how many seconds to wait for the next one.

    A step that raises is logged under the name `failure`, and the next one comes after `again_seconds`.
    """
    seconds = first_seconds
    while True:
        await asyncio.sleep(seconds)
        try:
            seconds = await step()
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            _report(failure, error)  # something inside the step was cancelled, not this task
            seconds = again_seconds
        except Exception as error:
            _report(failure, error)
            seconds = again_seconds


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _report(failure: str, error: BaseException) -> None:
    with suppress(Exception):  # a log that cannot be written is no reason to end either
        if isinstance(error, ReceiverError):
            _log.warning(failure, cause=error.message)
        else:
            _log.error(failure, exc_info=error)
