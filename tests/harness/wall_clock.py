"""A wall clock that a test sets for one service and no other process (libfaketime)."""

from pathlib import Path

_LIBRARIES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",  # Debian
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
)


class NoClock(Exception):
    """This machine has no library for it; the message says how to get it."""


class WallClock:
    """What a service that is started with `prefix` takes for the time; the clock that only runs forward is left alone.

    The library looks at the file again with every question.
    """

    def __init__(self, directory: Path) -> None:
        """Raises NoClock."""
        found = [path for pattern in _LIBRARIES for path in Path("/").glob(pattern[1:])]
        if not found:
            raise NoClock("libfaketime is not installed (Debian package: faketime)")
        self._file = directory / "clock"
        self.turn(0)
        self.prefix = (
            "env",
            f"LD_PRELOAD={found[0]}",
            f"FAKETIME_TIMESTAMP_FILE={self._file}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "NO_FAKE_STAT=1",
        )

    def turn(self, seconds: int) -> None:
        """Let the clock go wrong by so much from now on: back if negative, right again with 0."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n", encoding="ascii")
        new.rename(self._file)
