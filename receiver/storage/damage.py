"""A check for damage in the file of an embedded database."""

from sqlite3 import Error
from time import monotonic
from typing import Any

from sqlalchemy import Connection


def find_damage(connection: Connection, seconds: float) -> str | None:
    """Return the first damage that SQLite finds in its file (`quick_check`), or None. Raises TimeoutError after `seconds`."""
    driver: Any = connection.connection.driver_connection
    deadline = monotonic() + seconds
    driver.set_progress_handler(lambda: monotonic() > deadline, 100_000)
    try:
        found: str = driver.execute("PRAGMA quick_check(1)").fetchone()[0]
    except Error as error:
        if monotonic() > deadline:
            raise TimeoutError from None
        if str(error) == "interrupted":  # Ctrl-C ended the handler, and the driver hides that
            raise KeyboardInterrupt from None
        return str(error)
    finally:
        driver.set_progress_handler(None, 0)
    return None if found == "ok" else " ".join(found.split())
