"""Changes from the command line: made here, or by the running service where that alone may write (SQLite)."""

from typing import Any

import orjson
import urllib3

from receiver.errors import ConfigurationError, StorageUnavailable, WriterTaken
from receiver.settings import Settings
from receiver.storage import schema
from receiver.storage.database import Database
from receiver.storage.transactions import Transactions
from receiver.storage.upkeep import Upkeep


def perform(settings: Settings, name: str, path: str, arguments: dict[str, Any]) -> None:
    """Call a method of Upkeep in a transaction, or post the same arguments to the service that holds the database.

    Raises WriterTaken, ConfigurationError or StorageUnavailable, each naming what to do.
    """
    database = Database(settings.database_url)
    try:
        database.take()
    except WriterTaken as taken:
        _post(settings, path, arguments, taken)
        return
    transactions = Transactions(database)
    try:
        schema.check(database)
        database.close_readers()
        method = getattr(Upkeep(database), name)
        transactions.run(lambda connection: method(connection, **arguments))
    finally:
        transactions.close()
        database.close()


def base_url(settings: Settings) -> str:
    """Return where the service on this machine listens."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  it is read, not bound
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _post(settings: Settings, path: str, arguments: dict[str, Any], taken: WriterTaken) -> None:
    if not settings.ops_tokens:
        raise ConfigurationError(f"{taken.message} To let it make the change, set RECEIVER_OPS_TOKENS for both.")
    headers = {"authorization": f"Bearer {settings.ops_tokens[0].reveal()}", "content-type": "application/json"}
    url = f"{base_url(settings)}{path}"
    try:
        answer = urllib3.request("POST", url, body=orjson.dumps(arguments), headers=headers, retries=False, timeout=10.0)
    except urllib3.exceptions.HTTPError as error:
        raise StorageUnavailable(f"{taken.message} It does not answer at {url} ({type(error).__name__}).") from None
    if answer.status != 200:
        raise StorageUnavailable(f"The service at {url} answered {answer.status}: {answer.data.decode(errors='replace')[:300]}")
