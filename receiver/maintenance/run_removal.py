"""Remove the deliveries and trackers of tests, in transactions of bounded size."""

from collections.abc import Callable
from math import inf
from time import monotonic

from receiver import clock
from receiver.maintenance.execution import MakeEntry
from receiver.storage.run_removal import RemovedTests
from receiver.writer.commands.operators import Audited
from receiver.writer.commands.removal import RemoveTests
from receiver.writer.executor import Do

ALL = "all"
"""The subject in the audit log where all tests are removed."""


async def remove_test_runs(
    do: Do,
    run: str | None,
    make_entry: MakeEntry,
    seconds: float = inf,
    advance: Callable[[int], object] = lambda _rows: None,
) -> tuple[RemovedTests, bool]:
    """Remove a run of a test (None: all tests) for at most `seconds`.

    Return the numbers of removed deliveries and trackers, and whether there may be more. `advance` gets each number of rows.
    """
    deadline = monotonic() + seconds
    command = RemoveTests(run)
    done = piece = await do(Audited(make_entry(clock.now(), "prune tests", run or ALL, None), command))
    advance(sum(piece))
    while any(piece) and monotonic() < deadline:
        piece = await do(command)
        done = done.add(piece)
        advance(sum(piece))
    return done, any(piece)
