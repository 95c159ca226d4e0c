"""Pause, resume, flush and test a target, retry its failed changes, send one again, or remove everything stored for it.

Each transaction has a bounded size.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from math import inf
from time import monotonic

from receiver import clock
from receiver.domain.changes import TargetTestResult
from receiver.maintenance.execution import MakeEntry
from receiver.storage import queries
from receiver.storage.dropping import Dropped
from receiver.storage.interventions import ALL_DEAD, DeadFilter
from receiver.storage.resending import Resent
from receiver.writer.commands.changes import DropTarget, FlushTarget, PauseTarget, ResendChange, ResumeTarget, RetryDead
from receiver.writer.commands.operators import AddAuditEntry, Audited
from receiver.writer.executor import Do


async def pause_target(do: Do, target: str, make_entry: MakeEntry) -> bool:
    """Pause a target. Return False if it was paused or stopped already."""
    now = clock.now()
    return await do(Audited(make_entry(now, "targets pause", target, None), PauseTarget(target, clock.to_micros(now))))


async def resume_target(do: Do, target: str, make_entry: MakeEntry) -> bool:
    """Resume a paused or stopped target. Return False if it was neither."""
    return await do(Audited(make_entry(clock.now(), "targets resume", target, None), ResumeTarget(target)))


async def flush_target(do: Do, target: str, make_entry: MakeEntry) -> int:
    """Have the waiting changes of a target tried at once, and return the number of those that were due later."""
    now = clock.now()
    command = FlushTarget(target, clock.to_micros(now))
    flushed = await do(Audited(make_entry(now, "targets flush", target, None), command))
    changes = flushed.changes
    while flushed.last is not None:
        flushed = await do(replace(command, after=flushed.last))
        changes += flushed.changes
    return changes


async def retry_failed(do: Do, target: str, make_entry: MakeEntry, only: DeadFilter = ALL_DEAD) -> int:
    """Queue failed changes of a target again, all or `only` some, and return their number.

    Changes that fail meanwhile may be included, each once.
    """
    now = clock.now()
    since = [] if only.since is None else [f"since {clock.iso(only.since)}"]
    detail = " ".join([*since, *("/".join(filter(None, only[1:])),)]).strip() or None
    command = RetryDead(target, clock.to_micros(now), only)
    retried = await do(Audited(make_entry(now, "targets retry", target, detail), command))
    changes = retried.changes
    while retried.last is not None:
        retried = await do(replace(command, after=retried.last))
        changes += retried.changes
    return changes


async def send_test_change(
    do: Do, send: Callable[[str], Awaitable[TargetTestResult]], target: str, make_entry: MakeEntry
) -> TargetTestResult:
    """Have the relay `send` a test change to a target and return the answer. Only the audit log has a trace of it."""
    await do(AddAuditEntry(make_entry(clock.now(), "targets test", target, None)))
    return await send(target)


async def resend_change(
    do: Do,
    source: str,
    tracker_id: str,
    target: str | None,
    basis: str,
    sequence: int | None,
    known: Sequence[str],
    make_entry: MakeEntry,
) -> Resent:
    """Send a change of a tracker again, with the same id: the last one, or the one with this sequence.

    It goes to a target, or to all (None) with a record of it that are `known` to the settings. Raises NotFound.
    """
    if target is not None:
        queries.check_named(known, target)
    now = clock.now()
    detail = f"{'last change' if sequence is None else f'change {sequence}'} of {basis} to {target or 'all that had it'}"
    command = ResendChange(source, tracker_id, target, basis, sequence, known, clock.to_micros(now))
    return await do(Audited(make_entry(now, "targets resend", f"{source}/{tracker_id}", detail), command))


async def drop_target(do: Do, target: str, make_entry: MakeEntry, seconds: float = inf) -> tuple[Dropped, bool]:
    """Remove the waiting and failed changes of a target for at most `seconds`.

    Return the numbers of removed changes, and whether there may be more.
    """
    deadline = monotonic() + seconds
    command = DropTarget(target)
    done = piece = await do(Audited(make_entry(clock.now(), "targets drop", target, None), command))
    while any(piece) and monotonic() < deadline:
        piece = await do(command)
        done = done.add(piece)
    return done, any(piece)
