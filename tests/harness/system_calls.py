"""Make system calls of a running process fail or take long (`strace --inject`)."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.service import wait_until

SYNCS = "fsync,fdatasync"
WRITES = "pwrite64,pwritev,ftruncate,fallocate,fsync,fdatasync"


class NoTracing(Exception):
    """This machine or this user cannot do that; the message says why."""


@contextmanager
def harmed(process_id: int, calls: str, harm: str, trace: Path = Path(os.devnull), also: str = "") -> Iterator[None]:
    """Make these system calls of a process fail until the block ends: `error=EIO`, `delay_enter=10000` (microseconds).

    They are written down in `trace`, and `also` others that are left alone (`tests.harness.trace`). Raises NoTracing where
    strace is missing or may not.
    """
    strace = shutil.which("strace")
    if strace is None:
        raise NoTracing("strace is not installed (Debian package: strace)")
    traced = ",".join(filter(None, (calls, also)))
    command = [
        strace,
        "-f",
        "-qq",
        "-y",
        "-s",
        "4096",
        "-e",
        f"trace={traced}",
        "-e",
        f"inject={calls}:{harm}",
        "-e",
        "signal=none",
    ]
    tracer = subprocess.Popen([*command, "-o", str(trace), "-p", str(process_id)], stderr=subprocess.PIPE)
    try:
        wait_until(lambda: _traced(process_id) or tracer.poll() is not None, "the calls are caught")
        if tracer.poll() is not None:
            assert tracer.stderr is not None
            raise NoTracing(f"strace may not look at other processes ({tracer.stderr.read().decode().strip()})")
        yield
    finally:
        tracer.terminate()  # it lets go of the process, which runs on
        tracer.communicate()


def _traced(process_id: int) -> bool:
    """Tell whether all threads of a process have a tracer."""
    for status in Path(f"/proc/{process_id}/task").glob("*/status"):
        if "TracerPid:\t0\n" in status.read_text(encoding="ascii"):
            return False
    return True
