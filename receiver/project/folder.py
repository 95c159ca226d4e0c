"""The project folder: the folder from which relative paths in the settings count."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from receiver.errors import ConfigurationError

HOME = "RECEIVER_HOME"
DOTENV = Path(".env")
CONFIG = Path("config/receiver.toml")
_DATABASE = Path("data/receiver.db")
_OURS = b"RECEIVER_"


class Project(NamedTuple):
    """The project folder (`.` for the current one), and what shows that it is one: a file in it, RECEIVER_HOME, or nothing."""

    folder: Path = Path()
    sign: str | None = None


def find_project(environment: Mapping[str, str]) -> Project:
    """Return the folder that RECEIVER_HOME names, or else the nearest one from the current folder upwards with a file of ours.

    Without either it is the current folder. Raises ConfigurationError if RECEIVER_HOME names no folder.
    """
    if home := environment.get(HOME):
        if not Path(home).is_dir():
            raise ConfigurationError(f"{HOME}: expected a folder; there is none at {home}.")
        return Project(Path(home).absolute(), HOME)
    for name in (DOTENV, CONFIG, _DATABASE):
        if name.exists():
            return Project(Path(), str(name))
    try:
        here = Path.cwd()
    except OSError:  # the current folder was removed
        return Project()
    return next((found for folder in here.parents if (found := _look_into(folder, here)) is not None), Project())


def find_databases_below() -> list[Path]:
    """Return the databases at their default place in the folders of the current one."""
    return sorted(Path().glob(f"*/{_DATABASE}"))[:3]


def _look_into(folder: Path, here: Path) -> Project | None:
    """Return a folder above the current one as a project, if it has a file of ours that no other user put there."""
    for name in (DOTENV, CONFIG, _DATABASE):
        try:
            if (folder / name).is_file() and _is_trusted(folder / name, here) and (name != DOTENV or _is_ours(folder / name)):
                return Project(folder, str(name))
        except OSError:
            continue
    return None


def _is_trusted(file: Path, here: Path) -> bool:
    """Tell whether the file belongs to this user, to root, or to the owner of the current folder: settings name code to run."""
    return file.stat().st_uid in {0, os.geteuid(), here.stat().st_uid}


def _is_ours(dotenv: Path) -> bool:
    """Tell whether a `.env` has settings of ours: other programs have such files too."""
    return _OURS in dotenv.read_bytes()
