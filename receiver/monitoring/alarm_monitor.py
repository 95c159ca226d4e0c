"""Watching for what is out of order: reads, lets the rules judge, puts on record what began and ended, and has it told.

Several processes may watch one database. Which of them says a thing is settled there: the one whose write switches the alarm on
or off.
"""

import asyncio
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import structlog

from receiver import clock
from receiver.domain.alarms import (
    DAY,
    HOUR,
    LEARNING_WINDOW,
    MINUTE,
    REFUSED_CODES,
    REFUSED_WINDOW,
    Alarm,
    AlarmFacts,
    AlarmKey,
    AlarmThresholds,
    Disk,
    Traffic,
    find_alarms,
    learn_gap,
)
from receiver.errors import ReceiverError
from receiver.monitoring.notifier import Notice
from receiver.processes.repeating import repeat
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.writer.commands.alarms import BeginAlarm, EndAlarm, TakeNotice
from receiver.writer.executor import Do

STEP_SECONDS = 30.0
"""From one look to the next."""

NOTICE_OVERDUE = 5 * MINUTE
"""A notice that waits for longer was left by a process that is gone: others need less for all their tries."""

NOTICE_KEPT = DAY
"""A notice that waits for longer is not sent any more."""

_log = structlog.get_logger()


class AlarmMonitor:
    """Knows which alarms are on.

    `do` executes commands, `tell` takes what began or ended and does not wait, `started_at` is since when
    this process serves.
    """

    def __init__(
        self,
        rules: AlarmThresholds,
        database: Database,
        do: Do,
        tell: Callable[[Notice], None],
        started_at: int,
        step_seconds: float = STEP_SECONDS,
    ) -> None:
        self._rules = rules
        self._database = database
        self._do = do
        self._tell = tell
        self._started_at = started_at
        self._step_seconds = step_seconds
        self._on: Sequence[dict[str, Any]] = ()
        self._due: dict[Notice, int] = {}
        self._settled: SimpleQueue[Notice] = SimpleQueue()
        self._wake: Callable[[], object] = _nothing
        self._is_first = True

    def on(self) -> Sequence[dict[str, Any]]:
        """Return the alarms that are on, as `queries.list_alarms` does, as of the last step: name, subject, began_at, message."""
        return self._on

    async def run(self) -> None:
        """Look again and again; a step that fails is logged, and the next one comes in its time."""
        await repeat("watch_failed", self._look, again_seconds=self._step_seconds)

    async def _look(self) -> float:
        await self.step(clock.to_micros(clock.now()))
        return self._step_seconds

    def note_settled(self, notice: Notice) -> None:
        """Take from any thread that nobody needs to send a notice any more."""
        self._settled.put(notice)
        with suppress(RuntimeError):  # the loop has ended
            self._wake()

    async def run_settling(self) -> None:
        """Put down which notices are settled, as they are."""
        loop, settled = asyncio.get_running_loop(), asyncio.Event()
        self._wake = partial(loop.call_soon_threadsafe, settled.set)
        while True:
            settled.clear()
            await self.settle()
            await settled.wait()

    async def settle(self) -> None:
        """Put down which notices are settled; where that fails, another process sends them once more."""
        with suppress(Empty):
            while True:
                notice = self._settled.get_nowait()
                due_at = self._due.pop(notice, None)
                with suppress(ReceiverError):
                    if due_at is not None:
                        await self._do(TakeNotice(notice.alarm, notice.subject, due_at, None))

    async def step(self, now: int) -> None:
        """Look once. Raises ReceiverError if the database cannot be asked; what was settled before that has been told."""
        facts, rows = await asyncio.to_thread(self._read, now)
        before = {AlarmKey(row["name"], row["subject"]): row for row in rows}
        wanted = {alarm.key: alarm for alarm in find_alarms(facts, self._rules, now, before.keys())}
        for key, alarm in wanted.items():
            if key not in before:
                await self._begin(alarm, now)
        for key, row in before.items():
            if key not in wanted:
                await self._end(row, now)
        await self._send_left(now)
        changed = wanted.keys() != before.keys()
        self._on = await asyncio.to_thread(queries.list_alarms, self._database, only_on=True) if changed else rows

    async def _begin(self, alarm: Alarm, now: int) -> None:
        if await self._do(BeginAlarm(alarm.name, alarm.subject, now, alarm.message)):
            _log.warning("alarm_began", alarm=alarm.name, subject=alarm.subject, message=alarm.message)
            self._send(Notice(alarm.name, alarm.subject, "began", alarm.message, clock.iso(now)), now)

    async def _end(self, row: dict[str, Any], now: int) -> None:
        if await self._do(EndAlarm(row["name"], row["subject"], now)):
            _log.info("alarm_ended", alarm=row["name"], subject=row["subject"], message=row["message"])
            self._send(Notice(row["name"], row["subject"], "ended", row["message"], row["began_at"], clock.iso(now)), now)

    def _send(self, notice: Notice, due_at: int) -> None:
        self._due[notice] = due_at
        self._tell(notice)

    async def _send_left(self, now: int) -> None:
        """Send what other processes left: with one writer all that waits at our start, else what is overdue."""
        alone, self._is_first = self._is_first and self._database.has_one_writer, False
        until = now if alone else now - NOTICE_OVERDUE
        for row in await asyncio.to_thread(queries.find_due_notices, self._database, now - NOTICE_KEPT, until):
            due_at = row["notice_due_at"]
            take = TakeNotice(row["name"], row["subject"], due_at, now)
            if due_at in self._due.values() or not await self._do(take):
                continue
            state = "began" if row["ended_at"] is None else "ended"
            self._send(Notice(row["name"], row["subject"], state, row["message"], row["began_at"], row["ended_at"]), now)

    def _read(self, now: int) -> tuple[AlarmFacts, list[dict[str, Any]]]:
        recent = queries.read_tallies(self._database, now - HOUR, now)
        history = queries.read_tallies(self._database, now - LEARNING_WINDOW, now)
        last_calls = _find_last_calls(queries.token_uses(self._database))
        traffic = {source: _sum_up(source, recent, history, last_calls.get(source), now) for source in NAMES}
        undecidable = queries.find_undecidable(self._database, now - DAY)
        traffic = {name: found._replace(undecidable=len(undecidable.get(name, ()))) for name, found in traffic.items()}
        disk, running = _look_at_disk(self._database), queries.read_processes(self._database, now)
        facts = AlarmFacts(self._started_at, traffic, disk, queries.find_oldest_due(self._database), running)
        return facts, queries.list_alarms(self._database, only_on=True)


def _nothing() -> None:
    """What is woken before there is a loop."""


def _find_last_calls(uses: dict[tuple[str, str], int]) -> dict[str, int]:
    """Return when a source last called: a call that was let in, so that a stranger's do not hide its silence."""
    found: dict[str, int] = defaultdict(int)
    for (source, _), used_at in uses.items():
        found[source] = max(found[source], used_at)
    return dict(found)


def _sum_up(
    source: str, recent: Iterable[queries.Cell], history: Iterable[queries.Cell], last_call_at: int | None, now: int
) -> Traffic:
    cells = [cell for cell in recent if cell.source == source]
    storm = [cell for cell in cells if cell.code in REFUSED_CODES and now - cell.begins_at < REFUSED_WINDOW + MINUTE]
    busy = [cell.begins_at for cell in history if cell.source == source and cell.numbers["received"]]
    return Traffic(
        last_call_at,
        learn_gap(busy, now),
        refused=_total(storm, "calls"),
        quarantined=_total(cells, "quarantined"),
        applied=_total(cells, "applied"),
        stale=_total(cells, "stale"),
    )


def _total(cells: Iterable[queries.Cell], name: str) -> int:
    return sum(cell.numbers[name] for cell in cells)


def _look_at_disk(database: Database) -> Disk | None:
    """Return the room on the disk of an embedded database; a server's is the server's to watch."""
    if database.path is None:
        return None
    try:
        usage = shutil.disk_usage(database.path.parent)
    except OSError:
        return None  # the folder is gone: deliveries are answered 503, and readiness says so
    return Disk(usage.free, usage.total)
