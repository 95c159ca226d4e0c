"""What a sync of the disk costs: this machine's own, and one that takes some milliseconds longer, as other disks' do.

strace holds the call up where it would return, and stops nothing but syncs (a filter in the kernel looks for them). A line with
strace and no delay shows what strace itself costs.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from tests.bench.cluster import BenchCluster
from tests.bench.driven_service import Benchmark
from tests.bench.load import Load
from tests.bench.report import make_table, write_milliseconds

_SYSTEMS = (("usual", False), ("fastify", False), ("ours", False), ("fastify", True), ("ours", True))
_NAMES = {"fastify": "Fastify"}


class Line(NamedTuple):
    """One run. `delay_ms` is None without strace."""

    kind: str
    on_postgresql: bool
    delay_ms: int | None
    load: Load
    calls_per_commit: float


def measure(bench: Benchmark, delays_ms: Sequence[int | None]) -> list[Line]:
    """Run other handlers and ours on each database with each delay; without strace only as it is."""
    delays = delays_ms if _can_hold_up() else (None,)
    systems = [(kind, on_server) for kind, on_server in _SYSTEMS if bench.can_run(kind, on_postgresql=on_server)]
    return [_run(bench, kind, on_postgresql, delay) for kind, on_postgresql in systems for delay in delays]


def _run(bench: Benchmark, kind: str, on_postgresql: bool, delay_ms: int | None) -> Line:
    bench.tell(f"sync: {kind} on {'PostgreSQL' if on_postgresql else 'SQLite'}, {_name(delay_ms)}")
    held = _hold_up(delay_ms)
    with (
        _slow_server(bench.places.cluster, held if on_postgresql else []),
        bench.places.fresh(on_postgresql=on_postgresql) as place,
        bench.totals.drive(kind, place, prefix=[] if on_postgresql else held) as driven,
    ):
        driven.warm_up()
        done = driven.send(bench.seconds)
        return Line(kind, on_postgresql, delay_ms, done, driven.calls_per_commit())


def _can_hold_up() -> bool:
    """Tell whether there is strace, and whether it may do that here."""
    if shutil.which("strace") is not None and subprocess.run([*_hold_up(1), "true"], check=False).returncode == 0:
        return True
    sys.stderr.write("strace is not installed, or may not be used: syncs are measured as they are only\n")
    return False


def _hold_up(delay_ms: int | None) -> list[str]:
    """Return a command that runs another one whose syncs take so much longer. -D: that one stays our own child."""
    if delay_ms is None:
        return []
    command = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "--seccomp-bpf",
        "-o",
        "/dev/null",
        "-e",
        "signal=none",
        "-e",
        "trace=fsync,fdatasync",
    ]
    return [*command, "-e", f"inject=fsync,fdatasync:delay_exit={delay_ms * 1000}"] if delay_ms else command


@contextmanager
def _slow_server(cluster: BenchCluster | None, held: Sequence[str]) -> Iterator[None]:
    """Start the server anew by a command that runs it, and after the block as it was."""
    if cluster is None or not held:
        yield
        return
    runner = cluster.directory / "postgres-held"
    runner.write_text(f'#!/bin/sh\nexec {" ".join(held)} "{cluster.program}" "$@"\n', encoding="utf-8")
    runner.chmod(0o755)
    try:
        _restart(cluster, runner)
        yield
    finally:
        _restart(cluster, None)


def _restart(cluster: BenchCluster, runner: Path | None) -> None:
    cluster.stop()
    cluster.runner = runner
    cluster.start()


def _name(delay_ms: int | None) -> str:
    return "as it is" if delay_ms is None else f"traced, + {delay_ms} ms"


def make_syncs_table(lines: Sequence[Line]) -> Table:
    """Return rates by system and delay."""
    table = make_table(("", "sync"), ("calls/s", "calls a\ncommit", "p50\nms", "p99\nms", "calls"))
    last = ""
    for line in lines:
        name = f"{_NAMES.get(line.kind, line.kind)}, {'PostgreSQL' if line.on_postgresql else 'SQLite'}"
        load = line.load
        figures = (
            f"{load.rate:,.0f}",
            f"{line.calls_per_commit:,.1f}",
            write_milliseconds(load.p50_ms),
            write_milliseconds(load.p99_ms),
        )
        table.add_row("" if name == last else name, _name(line.delay_ms), *figures, f"{load.calls:,}")
        last = name
    return table
