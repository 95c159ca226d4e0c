"""Background work: a step that fails does not end it."""

import asyncio
import socket
from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from receiver.access.setup_windows import SetupWindows
from receiver.domain.notices import Notice
from receiver.errors import Busy, StorageUnavailable
from receiver.monitoring.notifier import AlarmNotifier, NotifierTimings
from receiver.processes.repeating import repeat
from receiver.writer.client import WriterClient
from receiver.writer.counters import Counters
from tests.harness import ship24
from tests.harness.service import DEADLINE_SECONDS
from tests.harness.store import submission
from tests.harness.table import each_row

FAILURES = [
    StorageUnavailable("The database is away."),
    OSError("a disk"),
    RuntimeError("can't start new thread"),
    asyncio.CancelledError(),
    TimeoutError(),
]


@each_row("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_the_next_step_comes_after_one_that_failed(failure: BaseException) -> None:
    async def run() -> int:
        steps, done = 0, asyncio.Event()

        async def step() -> float:
            nonlocal steps
            steps += 1
            if steps < 3:
                raise failure
            done.set()
            return 3600.0

        task = asyncio.create_task(repeat("step_failed", step, again_seconds=0.0))
        await asyncio.wait_for(done.wait(), DEADLINE_SECONDS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return steps

    with capture_logs() as logs:
        assert asyncio.run(run()) == 3
    assert [line["event"] for line in logs] == ["step_failed", "work_resumed"]
    is_ours = not isinstance(failure, StorageUnavailable)
    assert (logs[0]["log_level"], logs[0]["exc_info"]) == (("error", failure) if is_ours else ("warning", None))


def test_a_fault_that_lasts_is_one_line_for_each_cause_until_it_is_over() -> None:
    outcomes: list[Exception | None] = [StorageUnavailable("away")] * 5
    outcomes += [StorageUnavailable("full"), StorageUnavailable("away"), None, None, StorageUnavailable("away"), None]

    async def run() -> None:
        left, done = iter(outcomes), asyncio.Event()

        async def step() -> float:
            match next(left, "done"):
                case None:
                    return 0.0
                case Exception() as failure:
                    raise failure
            done.set()
            return 3600.0

        task = asyncio.create_task(repeat("step_failed", step, again_seconds=0.0))
        await asyncio.wait_for(done.wait(), DEADLINE_SECONDS)
        task.cancel()

    with capture_logs() as logs:
        asyncio.run(run())
    told = [(line["event"], line.get("cause")) for line in logs]
    over = ("work_resumed", None)
    assert told == [("step_failed", "away"), ("step_failed", "full"), over, ("step_failed", "away"), over]


def test_work_ends_when_it_is_cancelled_in_the_middle_of_a_step() -> None:
    async def run() -> None:
        begun = asyncio.Event()

        async def step() -> float:
            begun.set()
            await asyncio.Event().wait()
            return 0.0

        task = asyncio.create_task(repeat("step_failed", step))
        await asyncio.wait_for(begun.wait(), DEADLINE_SECONDS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE_SECONDS)

    with capture_logs() as logs:
        asyncio.run(run())
    assert logs == []


def test_setup_windows_are_followed_after_any_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.access.setup_windows._PAUSE_SECONDS", 0.0)

    async def run() -> bool:
        asked, done = 0, asyncio.Event()

        async def read() -> Mapping[str, int]:
            nonlocal asked
            asked += 1
            if asked < 3:
                raise RuntimeError("can't start new thread")
            if asked > 3:
                done.set()
            return {"ship24": 2}

        windows = SetupWindows(read)
        task = asyncio.create_task(windows.run())
        await asyncio.wait_for(done.wait(), DEADLINE_SECONDS)
        task.cancel()
        return windows.is_open("ship24", 1)

    assert asyncio.run(run())


def test_what_was_only_counted_is_written_down_after_any_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.writer.client._COUNT_SECONDS", 0.0)

    async def run() -> int:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        writer_client = WriterClient(0, 0.01, lambda: None, Counters())
        await writer_client.open(ours)
        call = submission(ship24.single())
        await writer_client.store(call.delivery, lambda: call)  # there is no room, so it is counted
        failed = asyncio.Event()

        def fail(_message: object) -> bytes:
            failed.set()
            raise Busy("It cannot be packed now.")

        with monkeypatch.context() as broken:
            broken.setattr("receiver.writer.client.pack", fail)
            task = asyncio.create_task(writer_client.run())
            await asyncio.wait_for(failed.wait(), DEADLINE_SECONDS)
        told = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(theirs, 1), DEADLINE_SECONDS)
        task.cancel()
        await writer_client.close()
        theirs.close()
        return len(told)

    with capture_logs() as logs:
        assert asyncio.run(run()) == 1
    assert logs[0]["event"] == "counts_not_written"


def test_a_notice_that_cannot_be_written_does_not_hold_up_the_next_one(tmp_path: object) -> None:
    file = f"{tmp_path}/told"
    notices = AlarmNotifier(
        None,
        ["/bin/sh", "-c", f"cat > {file}"],
        NotifierTimings((), command_seconds=DEADLINE_SECONDS, closing_seconds=DEADLINE_SECONDS),
    )
    notices.start()
    with capture_logs() as logs:
        notices.put(Notice("disk", "database", "began", "\ud83d", "2026-01-01T00:00:00Z"))  # half of a pair: no JSON
        notices.put(Notice("disk", "database", "ended", "fine", "2026-01-01T00:00:00Z"))
        notices.close()
    assert [line["event"] for line in logs] == ["alarm_not_sent", "alarm_sent"]
