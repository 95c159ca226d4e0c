"""An earlier version of the service: code from git, tables from its migrations."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config

from receiver.storage import version
from receiver.storage.database import Database
from tests.harness.service import ROOT

EARLIER = "492c4c7"
"""The last commit of 0.1.0."""

EARLIER_TABLES = "0006"
_UNUSED = "class BadData(Exception): ...\n\n\nclass URLSafeTimedSerializer:\n    def __init__(self, *_, **__): ...\n"


class NotCloned(Exception):
    """The commit is not in this clone."""


def unpack_earlier(directory: Path) -> Sequence[str]:
    """Put the earlier code into a directory; return what is written before a command to run it with that code.

    Raises NotCloned. The console, which is not used here, needed a library that is no longer installed.
    """
    directory.mkdir()
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", EARLIER, "receiver"], capture_output=True, check=False)
    if packed.returncode != 0:
        raise NotCloned(f"the commit {EARLIER} is not in this clone: {packed.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(directory)], input=packed.stdout, check=True)
    (directory / "itsdangerous.py").write_text(_UNUSED, encoding="utf-8")
    return ("env", f"PYTHONPATH={directory}")


def upgrade(url: str, to: str) -> None:
    """Bring the tables to a version that is not newer than ours."""
    config = Config()
    config.set_main_option("script_location", str(Path(version.__file__).parent / "migrations"))
    database = Database(url)
    database.take(create=True)
    try:
        with database.connect_writer() as connection, connection.begin():
            config.attributes["connection"] = connection
            command.upgrade(config, to)
    finally:
        database.close()
