"""The loader of the settings: the environment overrides `.env`, `.env` overrides the file, the file overrides the defaults.

Relative paths count from the project folder (`project`).
An error about an unknown name suggests the nearest one. Errors never quote a value: it could be a secret.
"""

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from receiver.domain.trimming import trim
from receiver.errors import ConfigurationError
from receiver.project.dotenv import read_dotenv
from receiver.project.files import read_text_file
from receiver.project.folder import DOTENV, HOME, Project, find_project
from receiver.project.foreign import find_service_links, is_service_link
from receiver.project.settings_file import find_settings_file, read_settings_file
from receiver.settings.record import PREFIX, Settings

NEVER_IN_FILE = {
    "ship24_tokens",
    "ship24_api_key",
    "shiipp_tokens",
    "ops_tokens",
    "ops_read_tokens",
    "alarm_url",
    "alarm_smtp_url",
    "target_secrets",
}
_SECRETS = {*NEVER_IN_FILE, "database_url"}
_FILES = {f"{PREFIX}{name.upper()}_FILE" for name in _SECRETS}
_FOREIGN = {"DATABASE_URL": "database_url", "PORT": "port"}
_NOT_FIELDS = {"config", "home"}  # RECEIVER_CONFIG is the path of the file, RECEIVER_HOME that of the project folder
_FILE_SCHEME = Settings.model_fields["database_url"].default.partition(":")[0]  # of a database that is a file


def load(environment: Mapping[str, str] | None = None, dotenv: Path | None = None) -> Settings:
    """Return the settings. Raises ConfigurationError that names the wrong variable or key."""
    present = dict(os.environ) if environment is None else dict(environment)
    project = find_project(present)
    written = read_dotenv(dotenv or project.folder / DOTENV)
    if HOME in written:
        raise ConfigurationError(f"{HOME}: set it in the environment; .env is read from that folder.")
    values = _read_file(written | present, project) | _read_variables(written, project) | _read_variables(present, project)
    try:
        settings = Settings(**values)
        url = _place(settings.database_url, project.folder)
        return settings.model_copy(update={"database_url": url}).in_project(project, is_configured=bool(values))
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        raise ConfigurationError("; ".join(_describe(problem) for problem in problems) + ".") from None


def find_ignored(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the names of the variables that `load` ignores: those of Kubernetes and Docker."""
    present = dict(os.environ if environment is None else environment)
    return find_service_links(read_dotenv(find_project(present).folder / DOTENV) | present)


def find_secret_files(environment: Mapping[str, str] | None = None) -> list[Path]:
    """Return the paths of the files that hold secrets: `.env`, and those that a variable ending in `_FILE` names."""
    present = dict(os.environ if environment is None else environment)
    folder = find_project(present).folder
    variables = read_dotenv(folder / DOTENV) | present
    return [folder / DOTENV, *(folder / variables[name] for name in sorted(_FILES & variables.keys()))]


def _place(url: str, folder: Path) -> str:
    """Return the URL of the database; a relative path of a file counts from this folder."""
    scheme, mark, path = url.partition(":///")
    is_relative = scheme.partition("+")[0] == _FILE_SCHEME and path and not path.startswith(("/", ":", "file:"))
    return f"{scheme}{mark}{folder / path}" if is_relative and folder != Path() else url


def _read_variables(variables: Mapping[str, str], project: Project) -> dict[str, Any]:
    known = {f"{PREFIX}{name.upper()}" for name in (*Settings.model_fields, *_NOT_FIELDS)}
    values: dict[str, Any] = {field: trim(variables[name]) for name, field in _FOREIGN.items() if variables.get(name)}
    for name, value in variables.items():
        if not name.startswith(PREFIX) or is_service_link(name, value):
            continue
        if name not in known | _FILES:
            raise ConfigurationError(f"{name} is not a setting.{_suggest(name, known | _FILES)}")
        field = name.removeprefix(PREFIX).lower()
        if name in _FILES:
            values[field.removesuffix("_file")] = _read_secret_file(name, project.folder / value, variables)
        elif f"{name}_FILE" not in variables:
            values[field] = trim(value)
    return {field: value for field, value in values.items() if field not in _NOT_FIELDS}


def _read_secret_file(name: str, path: Path, variables: Mapping[str, str]) -> str:
    if name.removesuffix("_FILE") in variables:
        raise ConfigurationError(f"{name} and {name.removesuffix('_FILE')} are both set. Remove one of them.")
    try:
        return trim(read_text_file(path, name))
    except FileNotFoundError:
        raise ConfigurationError(f"{name}: expected a readable text file; there is no file at this path.") from None


def _read_file(variables: Mapping[str, str], project: Project) -> dict[str, Any]:
    path = find_settings_file(variables, project.folder)
    values = read_settings_file(variables, project.folder)
    known = set(Settings.model_fields) - NEVER_IN_FILE
    for name in values:
        if name in NEVER_IN_FILE:
            raise ConfigurationError(f"{path}: {name} is a secret; set {PREFIX}{name.upper()} or {PREFIX}{name.upper()}_FILE.")
        if name not in known:
            raise ConfigurationError(f"{path}: {name} is not a setting.{_suggest(name, known)}")
    return values


def _suggest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, sorted(known), n=1, cutoff=0)
    return f" The nearest one is {near[0]}." if near else ""


def _describe(problem: Any) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    name = str(problem["loc"][0]) if problem["loc"] else ""
    if not name:
        return message
    return f"{name if name.isupper() else PREFIX + name.upper()}: {message[0].lower()}{message[1:]}"
