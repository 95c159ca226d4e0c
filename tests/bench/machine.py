"""The machine on which figures were measured."""

import os
import platform
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

import psutil

from tests.harness.postgresql import find_binaries

_SYNCS = 200
_SYNC_BYTES = 8192


def describe(directory: Path) -> Iterator[tuple[str, str]]:
    """Give pairs of names and values; `directory` is where the databases will be."""
    yield "processor", f"{_processor()}, {os.cpu_count()} cores"
    yield "memory", f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    yield "kernel", f"{platform.system()} {platform.release()}"
    programs = f"PostgreSQL {_postgresql()}, Node {_node()}"
    yield "software", f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {programs}"
    yield "file system", _file_system(directory)
    yield "busy before", f"{psutil.cpu_percent(interval=2):.0f} % (of all cores, with other things)"
    middle, slow = _measure_sync(directory / "sync")
    yield "sync", f"median {middle:.2f} ms, p99 {slow:.2f} ms ({_SYNCS} fdatasync of 8 KiB appends)"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _postgresql() -> str:
    binaries = find_binaries()
    if binaries is None:
        return "not installed"
    shown = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return shown.split()[2]


def _node() -> str:
    if shutil.which("node") is None:
        return "not installed"
    return subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip().removeprefix("v")


def _file_system(directory: Path) -> str:
    mounts = [part for part in psutil.disk_partitions(all=True) if directory.is_relative_to(part.mountpoint)]
    nearest = max(mounts, key=lambda part: len(part.mountpoint))
    return nearest.fstype


def _measure_sync(path: Path) -> tuple[float, float]:
    """Return the median and the 99th percentile of a synced append, in milliseconds."""
    took = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(bytes(_SYNC_BYTES))
            started = perf_counter()
            os.fdatasync(file.fileno())
            took.append((perf_counter() - started) * 1000)
    path.unlink()
    return median(took), quantiles(took, n=100)[98]
