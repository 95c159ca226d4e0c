"""How long a delivery takes while a backup is made, beside the time without one: at a steady rate, in the same run."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import Event, Thread
from time import monotonic, sleep
from typing import NamedTuple

from rich.table import Table

from tests.bench.driven_service import Benchmark, DrivenService
from tests.bench.load import LEAD_SECONDS, Paced
from tests.bench.report import make_table

RATE = 100.0
_MESSAGES = 850_000  # 2 GB
_BACKUP_SECONDS = 1800
_WATCH_SECONDS = 0.05
_MIB = 2**20


class BackupRound(NamedTuple):
    """One backup: deliveries before it and beside it, the largest WAL of both times, and the copy."""

    usual: Paced
    beside: Paced
    usual_wal_bytes: int
    wal_bytes: int
    seconds: float
    copied_bytes: int

    @property
    def times(self) -> float:
        """How many times as long the slowest hundredth of deliveries took."""
        return self.beside.latency.p99_ms / self.usual.latency.p99_ms


def measure(bench: Benchmark, times: int) -> list[BackupRound]:
    """Back up a large SQLite file so many times."""
    place = bench.places.filled(on_postgresql=False, most=_MESSAGES)
    place.read_indexes()
    with bench.totals.drive("ours", place) as driven:
        driven.warm_up()
        rounds = []
        for number in range(1, times + 1):
            bench.tell(f"backup {number} of {times}")
            rounds.append(_measure_one(driven, 2 * bench.seconds))
        return rounds


def _measure_one(driven: DrivenService, seconds: float) -> BackupRound:
    wal, copy = (driven.place.directory / name for name in ("bench.db-wal", "copy.db"))
    with _watching(wal) as usual_wal:
        usual = driven.pace(RATE, seconds)
    with _watching(wal) as beside_wal, driven.streaming(RATE) as end:
        sleep(LEAD_SECONDS)
        began = monotonic()
        try:
            _back_up(driven, copy)
            took, copied = monotonic() - began, copy.stat().st_size
        finally:
            copy.unlink(missing_ok=True)
        beside = end()
    return BackupRound(usual, beside, max(usual_wal), max(beside_wal), took, copied)


def _back_up(driven: DrivenService, copy: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "receiver", "backup", str(copy)],
        env=driven.environment(),
        cwd=driven.place.directory,
        check=True,
        capture_output=True,
        timeout=_BACKUP_SECONDS,
    )


@contextmanager
def _watching(file: Path) -> Iterator[list[int]]:
    """Give the sizes of a file as long as the block lasts."""
    sizes, done = [0], Event()

    def watch() -> None:
        while not done.wait(_WATCH_SECONDS):
            sizes.append(file.stat().st_size)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        done.set()
        thread.join()


def make_backup_table(rounds: Sequence[BackupRound]) -> Table:
    """Return a line without and with a backup for each round."""
    names = ("p50\nms", "p99\nms", "max\nms", "calls", "WAL\nMiB", "copy\nMiB", "seconds")
    table = make_table(("",), names)
    for one in rounds:
        for name, paced, wal in (("without", one.usual, one.usual_wal_bytes), ("beside a backup", one.beside, one.wal_bytes)):
            latency = paced.latency
            copy = (f"{one.copied_bytes / _MIB:,.0f}", f"{one.seconds:,.0f}") if paced is one.beside else ("", "")
            durations = (f"{value:,.1f}" for value in (latency.p50_ms, latency.p99_ms, latency.max_ms))
            table.add_row(name, *durations, f"{latency.calls:,}", f"{wal / _MIB:,.1f}", *copy)
    return table


def read_figures(rounds: Sequence[BackupRound]) -> Iterator[tuple[str, float]]:
    """Give the figures of the report: the median of the rounds, because other things run on the machine."""
    yield "backup times", median(one.times for one in rounds)
    yield "backup WAL", max(one.wal_bytes for one in rounds) / _MIB
