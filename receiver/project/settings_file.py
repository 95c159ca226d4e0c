"""The reader of the settings file, `config/receiver.toml` or the one that RECEIVER_CONFIG names."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from receiver.errors import ConfigurationError
from receiver.project.files import read_text_file
from receiver.project.folder import CONFIG

_VARIABLE = "RECEIVER_CONFIG"


def find_settings_file(variables: Mapping[str, str], folder: Path) -> Path:
    """Return the path of the file."""
    return folder / (variables.get(_VARIABLE) or CONFIG)


def read_settings_file(variables: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """Return the values in the file by name; none if there is no file and none is named. Raises ConfigurationError."""
    path = find_settings_file(variables, folder)
    try:
        return tomllib.loads(read_text_file(path))
    except FileNotFoundError:
        if variables.get(_VARIABLE):
            raise ConfigurationError(f"{_VARIABLE}: there is no file {path}.") from None
        return {}
    except ValueError as error:
        raise ConfigurationError(f"{path}: expected a readable TOML file: {error}.") from None
