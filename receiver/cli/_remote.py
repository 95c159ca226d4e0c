"""Changes to the database: this process makes them, or the running service (SQLite has one writer)."""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import urllib3

from receiver import clock
from receiver.domain.processes import ProcessRow, local_url
from receiver.domain.rows import AuditRow
from receiver.domain.storable import make_storable
from receiver.errors import (
    ConfigurationError,
    DatabaseLost,
    NoDatabase,
    ReceiverError,
    StorageUnavailable,
    WriterTaken,
)
from receiver.project.folder import find_databases_below
from receiver.settings import Settings, load
from receiver.storage import queries, version
from receiver.storage.database import Database
from receiver.storage.lock import is_alive
from receiver.storage.missing import explain_restore
from receiver.storage.transactions import Transactions
from receiver.writer.executor import CommandExecutor, Do, R, WriterCommand, name_failure

_ACTOR = "command line"
_READY_SECONDS = 6.0  # the service checks its storage for up to 5; without its answer the advice would be `migrate`
_STORAGE_CHECKS = ("database", "schema")


def audit_entry(now: datetime, action: str, subject: str, detail: str | None) -> AuditRow:
    """Return the audit entry of a change that a command makes."""
    return AuditRow(clock.new_id(now), clock.to_micros(now), _ACTOR, None, action, subject, detail)


def perform(settings: Settings, use_case: Callable[[Do], Coroutine[Any, Any, R]], ask: Callable[[WriterTaken], R]) -> R:
    """Carry out a use case in this process. If the service holds the database, `ask` the service instead.

    Raises ConfigurationError or StorageUnavailable, which say what to do.
    """
    try:
        with writing(settings) as executor:
            return asyncio.run(use_case(do_here(executor)))
    except WriterTaken as taken:
        return ask(taken)


@contextmanager
def writing(settings: Settings) -> Iterator[CommandExecutor]:
    """Give an executor of commands. Raises WriterTaken if the service holds the database."""
    database = Database(settings.database_url)
    database.take()
    transactions = Transactions(database)
    try:
        version.check(database)
        database.close_readers()
        yield CommandExecutor(database, transactions)
    finally:
        transactions.close()
        database.close()


def do_here(executor: CommandExecutor) -> Do:
    """Return a function that executes commands at once: the command line has no event loop to keep free."""

    async def do(command: WriterCommand[R]) -> R:
        try:
            return executor.do(command)
        except ReceiverError:
            raise
        except Exception as error:
            raise name_failure(error) from error

    return do


async def read_here(query: Callable[..., Any], *arguments: Any) -> Any:
    """Run a query at once."""
    return query(*arguments)


def base_url(settings: Settings, services: Sequence[ProcessRow] | None = None) -> str:
    """Return the URL of the service on this machine: where the one on this database listens, or else where the settings say.

    `services` are those of `find_services`, if they are known.
    """
    found = find_services(settings) if services is None else services
    addresses = [row.address for row in found if row.address is not None]
    ours = local_url(settings.host, settings.port)
    return ours if ours in addresses or not addresses else addresses[0]


def find_services(settings: Settings) -> list[ProcessRow]:
    """Return the services that run on this machine and on this database; none if the database cannot be read."""
    database = Database(settings.database_url)
    try:
        receivers = queries.read_processes(database, clock.to_micros(clock.now())).receivers
    except ReceiverError:
        return []
    finally:
        database.close()
    host = make_storable(socket.gethostname())
    return [row for row in receivers if row.host == host and is_alive(row.process_id)]


def ask_service(
    settings: Settings, path: str, arguments: dict[str, Any], taken: WriterTaken, seconds: float = 10.0
) -> tuple[int, bytes]:
    """Send a POST to the service that holds the database. Return the status and the body of its response.

    Raises ConfigurationError or StorageUnavailable, which say what to do.
    """
    if not settings.ops_tokens:
        raise ConfigurationError(f"{taken.message} To let the service make the change, set RECEIVER_OPS_TOKENS for both.")
    headers = {"authorization": f"Bearer {settings.ops_tokens[0].reveal()}", "content-type": "application/json"}
    url = f"{base_url(settings)}{path}"
    try:
        body = orjson.dumps(arguments)
    except orjson.JSONEncodeError as error:  # a name that is not UTF-8, or what an operator's file nests too deeply
        raise ConfigurationError(f"The running service cannot be asked for this: {error}. Stop it to do this here.") from None
    try:
        response = urllib3.request("POST", url, body=body, headers=headers, retries=False, timeout=seconds)
    except urllib3.exceptions.HTTPError as error:
        raise StorageUnavailable(f"{taken.message} It does not answer at {url} ({type(error).__name__}).") from None
    if response.status == 200 and not response.headers.get("content-type", "").startswith("application/json"):
        raise StorageUnavailable(f"{taken.message} Another program answers at {url}.")
    return response.status, response.data


def refused(settings: Settings, status: int, body: bytes) -> StorageUnavailable:
    """Return the error for an unexpected response of the service."""
    return StorageUnavailable(f"The service at {base_url(settings)} answered {status}: {read_message(body)}")


def read_message(body: bytes) -> str:
    """Return the message of an error of our service, or the beginning of another body."""
    try:
        return str(orjson.loads(body)["error"]["message"])
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return body.decode(errors="replace")[:300]


def read_code(body: bytes) -> str | None:
    """Return the code of an error of our service; None for another body."""
    try:
        return str(orjson.loads(body)["error"]["code"])
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return None


def post(settings: Settings, path: str, arguments: dict[str, Any], taken: WriterTaken, seconds: float = 10.0) -> Any:
    """Send a POST to the service that holds the database. Return the JSON of its response."""
    status, body = ask_service(settings, path, arguments, taken, seconds)
    if status != 200:
        raise refused(settings, status, body)
    return orjson.loads(body)


def post_again(settings: Settings, path: str, arguments: dict[str, Any], seconds: float = 10.0) -> Any:
    """Ask the service about work that it has begun. Return the JSON of its response."""
    return post(settings, path, arguments, WriterTaken("The service that did this was stopped, or hangs."), seconds)


def ask_readiness(settings: Settings, seconds: float) -> dict[str, Any] | None:
    """Return the readiness of the service on this machine, or None if no service answers."""
    try:
        response = urllib3.request("GET", f"{base_url(settings)}/readyz", retries=False, timeout=seconds)
        readiness = orjson.loads(response.data)
    except (urllib3.exceptions.HTTPError, orjson.JSONDecodeError):
        return None
    return readiness if isinstance(readiness, dict) else None


def explain_no_database(error: NoDatabase, settings: Settings | None = None) -> StorageUnavailable:
    """Return the error to show: DatabaseLost if the service on this machine runs and lost its database."""
    settings = settings or load()
    if not _has_lost_database(settings):
        return error if settings.is_configured else NoDatabase(_explain_elsewhere())
    database = Database(settings.database_url)
    advice = f"Restore a copy to {database}." if database.path is None else explain_restore(database.path)
    return DatabaseLost(f"The service at {base_url(settings)} runs, but {database} is gone. {advice}")


def refuse_beside_service(settings: Settings, database: Database) -> None:
    """Raise DatabaseLost if the file does not exist and the running service lost its database."""
    if database.path is not None and not database.path.exists():
        error = explain_no_database(NoDatabase("There is no file yet."), settings)
        if isinstance(error, DatabaseLost):
            raise error


def refuse_elsewhere(settings: Settings) -> None:
    """Raise NoDatabase where nothing is configured: a new database would be a second one, of nobody."""
    if not settings.is_configured:
        raise NoDatabase(_explain_elsewhere())


def _explain_elsewhere() -> str:
    """Return the sentences that say what was looked for, and where a database is."""
    missing = f"No .env, config/receiver.toml or data/receiver.db in {Path.cwd()} or a folder above it."
    below = " and ".join(str(path.parent.parent) for path in find_databases_below())
    if below:
        return f"{missing} There is a database in {below}: go there, or set RECEIVER_HOME."
    return f"{missing} Go to the folder of your receiver, or set RECEIVER_HOME. To begin a new one here, run `receiver init`."


def _has_lost_database(settings: Settings) -> bool:
    """Return whether the readiness of the service reports no tables. A service that runs had them at its start."""
    readiness = ask_readiness(settings, _READY_SECONDS) or {}
    try:
        checks = readiness["checks"]
        return any(not checks[name]["ok"] for name in _STORAGE_CHECKS if name in checks)
    except (LookupError, TypeError):
        return False
