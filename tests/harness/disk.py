"""A small file system of its own."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NoDisk(Exception):
    """This machine or this user cannot mount one; the message says why."""


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system of this size at `place`, which is made, as long as the block lasts. Raises NoDisk."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NoDisk("there is no mount command") from None
    if done.returncode != 0:
        raise NoDisk(f"a small disk cannot be mounted here ({done.stderr.strip()})")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def remount(disk: Path, *, writable: bool) -> None:
    """Make a disk read-only, or writable again. No file on it may be open for writing."""
    subprocess.run(["mount", "-o", f"remount,{'rw' if writable else 'ro'}", disk], check=True)


def fill(disk: Path) -> Path:
    """Take all the room that is left; return the file that takes it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 65536, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return filler
