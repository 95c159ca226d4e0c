"""A check for damage in the file of an embedded database."""

from collections.abc import Callable
from sqlite3 import Error
from time import monotonic
from typing import Any

from sqlalchemy import Connection

_INSTRUCTIONS = 100_000  # of SQLite's machine, between two questions whether to stop: some milliseconds


def find_damage(connection: Connection, should_stop: Callable[[], bool]) -> str | None:
    """Return the first damage that SQLite finds in its file (`quick_check`), or None.

    Raises KeyboardInterrupt once `should_stop` returns True, and after Ctrl-C.
    """
    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(should_stop, _INSTRUCTIONS)
    try:
        found: str = driver.execute("PRAGMA quick_check(1)").fetchone()[0]
    except Error as error:
        if str(error) == "interrupted":  # `should_stop`; or Ctrl-C ended it, which the driver hides
            raise KeyboardInterrupt from None
        return str(error)
    finally:
        driver.set_progress_handler(None, 0)
    return None if found == "ok" else " ".join(found.split())


def find_damage_within(connection: Connection, seconds: float) -> str | None:
    """Return the first damage, as `find_damage` does. Raises TimeoutError after `seconds`."""
    deadline = monotonic() + seconds
    try:
        return find_damage(connection, lambda: monotonic() > deadline)
    except KeyboardInterrupt:
        if monotonic() > deadline:
            raise TimeoutError from None
        raise
