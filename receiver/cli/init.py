"""The command `init`."""

import os
import secrets
from pathlib import Path

import click

from receiver.domain.customers import CUSTOMERS_PATH
from receiver.project.folder import DOTENV, HOME, find_project
from receiver.settings import Settings, load

_CONSOLE_PATH = "/ops/"
_ENV = """\
# Created by `receiver init`. Do not commit it. Environment variables take precedence over this file.
RECEIVER_SHIP24_TOKENS={ship24}
RECEIVER_SHIIPP_TOKENS={shiipp}
RECEIVER_OPS_TOKENS={ops}
# The two addresses of Ship24, and this machine for tests. Remove 127.0.0.1 if a reverse proxy runs on this machine.
RECEIVER_SHIP24_ALLOWED_IPS=3.222.254.223,54.161.7.2,127.0.0.1
RECEIVER_LOG_FORMAT=console
"""


@click.command()
@click.option("--print", "only_prints", is_flag=True, help="Print what .env would contain, and write nothing.")
def init(*, only_prints: bool) -> None:
    """Create .env if there is none, and print the URLs.

    The new file contains random secrets. It is created in the current folder, or in RECEIVER_HOME.
    """
    if only_prints:
        click.echo(_make_dotenv(), nl=False)
        return
    path = _choose_folder() / DOTENV
    if not path.exists():
        _write_dotenv(path)
        click.echo(f"Created {path} with random secrets.")
    settings = load()
    for source in settings.sources():
        click.echo(f"{f'webhook {source.name}':16} {_base_url(settings)}{source.path}")
    click.echo(f"{'customer list':16} {_base_url(settings)}{CUSTOMERS_PATH}")
    if settings.ops_tokens:
        click.echo(f"{'console':16} {_base_url(settings)}{_CONSOLE_PATH}")
    click.echo(f"{'secrets':16} {path}")


def _write_dotenv(path: Path) -> None:
    """Write the file, or leave none: an empty one would be taken for that of the operator, without any secret."""
    path.touch(mode=0o600)
    try:
        path.write_text(_make_dotenv(), encoding="utf-8")
    except OSError as error:
        path.unlink()
        error.filename = str(path)
        raise


def _make_dotenv() -> str:
    """Return the text of a new `.env`, with fresh secrets."""
    return _ENV.format(**{name: secrets.token_urlsafe(32) for name in ("ship24", "shiipp", "ops")})


def _choose_folder() -> Path:
    """Return the folder that RECEIVER_HOME names, or the current one, even if there is a project folder above it."""
    project = find_project(os.environ)
    return project.folder if project.sign == HOME else Path()


def _base_url(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"
