"""A database that is not there, while the running service says that it lost one: the advice is to restore it."""

import orjson
import urllib3

from receiver.cli.remote import base_url
from receiver.errors import DatabaseLost, NoDatabase, StorageUnavailable
from receiver.settings import Settings, load
from receiver.storage.database import Database
from receiver.storage.missing import explain_restore

_SECONDS = 2.0
_CHECKS = ("database", "schema")


def explain_no_database(error: NoDatabase, settings: Settings | None = None) -> StorageUnavailable:
    """Return the error to show: DatabaseLost if a service runs at our address and has no database any more."""
    settings = settings or load()
    if not _has_lost_database(settings):
        return error
    database = Database(settings.database_url)
    advice = f"Restore a copy to {database}." if database.path is None else explain_restore(database.path)
    return DatabaseLost(f"The service at {base_url(settings)} runs, but {database} is gone. {advice}")


def refuse_beside_service(settings: Settings, database: Database) -> None:
    """Raise DatabaseLost if the file is not there and the running service says that it lost its database."""
    if database.path is not None and not database.path.exists():
        error = explain_no_database(NoDatabase("There is no file yet."), settings)
        if isinstance(error, DatabaseLost):
            raise error


def _has_lost_database(settings: Settings) -> bool:
    """Ask the service for its readiness; one that serves had its tables when it started."""
    try:
        answer = urllib3.request("GET", f"{base_url(settings)}/readyz", retries=False, timeout=_SECONDS)
        checks = orjson.loads(answer.data)["checks"] if answer.status == 503 else {}
        return any(not checks[name]["ok"] for name in _CHECKS if name in checks)
    except (urllib3.exceptions.HTTPError, ValueError, LookupError, TypeError):
        return False
