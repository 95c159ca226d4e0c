"""The removal of tests goes on until nothing is left or the time is up."""

import asyncio
from datetime import datetime
from typing import Any

from receiver.domain.rows import AuditRow
from receiver.maintenance.run_removal import remove_test_runs
from receiver.storage.run_removal import RemovedTests
from receiver.writer.executor import Do, WriterCommand
from tests.harness.table import each_row


def audit(_now: datetime, action: str, subject: str, detail: str | None) -> AuditRow:
    return AuditRow("1", 0, "anna", None, action, subject, detail)


def remove_from(pieces: list[RemovedTests]) -> Do:
    """Return a stand-in for the writing process: each command removes the next piece."""

    async def do(command: WriterCommand[Any]) -> Any:
        assert command
        return pieces.pop(0)

    return do


@each_row(("seconds", "found"), [(60, ((5, 2), False, [4, 3])), (0, ((3, 1), True, [4]))], ids=["all of it", "one piece"])
def test_pieces_are_removed_until_nothing_is_left_or_the_time_is_up(
    seconds: float, found: tuple[tuple[int, int], bool, list[int]]
) -> None:
    pieces, told = [RemovedTests(3, 1), RemovedTests(2, 1), RemovedTests(0, 0)], list[int]()
    done, more = asyncio.run(remove_test_runs(remove_from(pieces), None, audit, seconds, told.append))
    assert (done, more, [number for number in told if number]) == found
