"""The address that the service listens on, found without the other settings: `receiver healthcheck` has to be quick."""

from collections.abc import Iterator, Mapping
from typing import Any

from receiver.domain.trimming import trim
from receiver.errors import ConfigurationError
from receiver.project.dotenv import read_dotenv
from receiver.project.folder import DOTENV, find_project
from receiver.project.foreign import is_service_link
from receiver.project.settings_file import read_settings_file

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
_EVERY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  listened on, and where to call it


def find_address(environment: Mapping[str, str]) -> tuple[str, int]:
    """Return the host and the port at which this machine reaches the service. Raises ConfigurationError.

    They are looked for where the settings are: in the environment, `.env` and the file, in this order.
    """
    folder = find_project(environment).folder
    written = read_dotenv(folder / DOTENV)
    layers = (environment, written)
    values = read_settings_file(written | dict(environment), folder)
    host = str(next(_find(layers, "RECEIVER_HOST"), values.get("host", DEFAULT_HOST)))
    port = next(_find(layers, "RECEIVER_PORT", "PORT"), values.get("port", DEFAULT_PORT))
    return _EVERY_ADDRESS.get(host, host), _read_port(port)


def _find(layers: tuple[Mapping[str, str], ...], name: str, foreign: str = "") -> Iterator[str]:
    """Yield the values of a variable, the one that counts first; each layer may have the platform's name for it."""
    for variables in layers:
        if name in variables and not is_service_link(name, variables[name]):
            yield trim(variables[name])
        if variables.get(foreign):
            yield trim(variables[foreign])


def _read_port(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ConfigurationError("RECEIVER_PORT: expected a number.") from None
