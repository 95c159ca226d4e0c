"""Every setting, read once into a frozen record: environment, then `.env`, then the file, then defaults.

A wrong value, an unknown name or a contradiction is a ConfigurationError that names the variable. Values are never quoted in
errors: one might be a secret in the wrong place.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from dotenv import dotenv_values
from pydantic import AliasChoices, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from receiver.addresses import Network, read_network
from receiver.errors import ConfigurationError
from receiver.gate import AddressPolicy, Gate, Secret
from receiver.sources import NAMES, Source, make_sources
from receiver.sources.places import check_place
from receiver.sources.shiipp import FIELDS

PREFIX = "RECEIVER_"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_PASSWORD = re.compile(r"://[^:/]*:([^@]+)@")


def _read_tokens(value: object) -> tuple[Secret, ...]:
    """Read `token,name:token`; a token without a name is called by its place, `token-1`."""
    secrets = []
    for place, item in enumerate(_items(value), 1):
        name, colon, token = item.partition(":")
        if not colon:
            name, token = f"token-{place}", item
        if not _NAME.fullmatch(name) or not token.strip() or not token.strip().isprintable():
            raise ValueError("expected comma-separated tokens, each as `token` or `name:token`")
        secrets.append(Secret(name, token.strip()))
    if len({secret.name for secret in secrets}) < len(secrets):
        raise ValueError("expected each token to have its own name")
    return tuple(secrets)


def _read_networks(value: object) -> tuple[Network, ...]:
    try:
        return tuple(read_network(item) for item in _items(value))
    except ValueError:
        raise ValueError("expected comma-separated addresses or networks, such as 54.161.7.2,10.0.0.0/8") from None


def _items(value: object) -> list[str]:
    parts = value if isinstance(value, list) else str(value).split(",")
    return [str(part).strip() for part in parts if str(part).strip()]


def _read_places(kind: str) -> Callable[[object], dict[str, tuple[str, ...]]]:
    def read(value: object) -> dict[str, tuple[str, ...]]:
        if not isinstance(value, dict):  # a ValueError is what pydantic turns into a message
            raise ValueError("expected a table in the file: a field of ours, and a list of places to look for it")  # noqa: TRY004
        for field, places in value.items():
            if field not in FIELDS[kind]:
                near = get_close_matches(str(field), sorted(FIELDS[kind]), n=1, cutoff=0)[0]
                raise ValueError(f"{field} is not a field; the nearest one is {near}")
            if not isinstance(places, list | tuple) or not places or not all(isinstance(place, str) for place in places):
                raise ValueError(f'{field}: expected a list of places, such as ["data.id", "/parcels/0/id"]')
            for place in places:
                check_place(place)
        return {str(field): tuple(places) for field, places in value.items()}

    return read


Tokens = Annotated[
    tuple[Secret, ...],
    NoDecode,
    BeforeValidator(lambda value: value if isinstance(value, tuple) else _read_tokens(value)),
]
Networks = Annotated[
    tuple[Network, ...],
    NoDecode,
    BeforeValidator(lambda value: value if isinstance(value, tuple) else _read_networks(value)),
]


PackagePlaces = Annotated[dict[str, tuple[str, ...]], NoDecode, BeforeValidator(_read_places("new-package"))]
ManifestPlaces = Annotated[dict[str, tuple[str, ...]], NoDecode, BeforeValidator(_read_places("manifest-status"))]


class Settings(BaseSettings):
    """All settings. Names are those of the variables without `RECEIVER_`, in lower case."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )

    database_url: str = Field(
        "sqlite:///data/receiver.db",
        repr=False,
        validation_alias=AliasChoices("RECEIVER_DATABASE_URL", "DATABASE_URL", "database_url"),
    )
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535, validation_alias=AliasChoices("RECEIVER_PORT", "PORT", "port"))
    ship24_tokens: Tokens = ()
    ship24_allowed_ips: Networks = _read_networks("3.222.254.223,54.161.7.2")
    ship24_ip_policy: AddressPolicy = AddressPolicy.ENFORCE
    shiipp_tokens: Tokens = ()
    shiipp_allowed_ips: Networks = ()
    shiipp_ip_policy: AddressPolicy = AddressPolicy.OFF
    shiipp_new_package: PackagePlaces = Field(default_factory=dict)
    shiipp_manifest_status: ManifestPlaces = Field(default_factory=dict)
    ops_tokens: Tokens = ()
    trusted_proxies: Networks = ()
    max_body_bytes: int = Field(5_242_880, ge=1024, le=104_857_600)
    max_future_hours: float = Field(48, gt=0)
    body_retention_days: int = Field(90, ge=0)
    body_timeout_seconds: float = Field(10, gt=0)
    commit_timeout_seconds: float = Field(10, gt=0)
    queue_deliveries: int = Field(2048, ge=1)
    log_format: Literal["json", "console"] = "json"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what `load` hands over, already in order of precedence."""
        return (init_settings,)

    @model_validator(mode="after")
    def _check_combinations(self) -> "Settings":
        for source in NAMES:
            gate = self.gate(source)
            if gate.tokens and gate.policy is not AddressPolicy.OFF and not gate.networks:
                raise ValueError(
                    f"{PREFIX}{source.upper()}_ALLOWED_IPS: empty while {PREFIX}{source.upper()}_IP_POLICY is {gate.policy}; "
                    "no call could ever come in. List the addresses, or set the policy to off"
                )
            shared = {secret.reveal() for secret in gate.tokens} & {secret.reveal() for secret in self.ops_tokens}
            if shared:
                raise ValueError(
                    f"{PREFIX}OPS_TOKENS: has a token in common with {PREFIX}{source.upper()}_TOKENS; "
                    "whoever may send webhooks could then read everything"
                )
        if any(network.prefixlen == 0 for network in self.trusted_proxies):
            raise ValueError(f"{PREFIX}TRUSTED_PROXIES: the whole internet is not a proxy; list your proxies' networks")
        return self

    def gate(self, source: str) -> Gate:
        """Return the rules of one source."""
        return Gate(
            getattr(self, f"{source}_tokens"),
            getattr(self, f"{source}_allowed_ips"),
            getattr(self, f"{source}_ip_policy"),
        )

    def sources(self) -> tuple[Source, ...]:
        """Return the paths that senders post to, with what reads their bodies."""
        return make_sources(self.shiipp_new_package, self.shiipp_manifest_status)

    def secrets(self) -> tuple[str, ...]:
        """Return everything that must not be written anywhere, the database's password included."""
        tokens = (*self.ship24_tokens, *self.shiipp_tokens, *self.ops_tokens)
        found = _PASSWORD.search(self.database_url)
        passwords = {found[1], unquote(found[1])} if found else set()
        return (*(token.reveal() for token in tokens), *passwords)


_TOKENS = {"ship24_tokens", "shiipp_tokens", "ops_tokens"}
_SECRETS = {*_TOKENS, "database_url"}
_FOREIGN = {"DATABASE_URL": "database_url", "PORT": "port"}
_OUTSIDE = {"config"}  # read here, not a field


def load(environment: Mapping[str, str] | None = None, dotenv: Path = Path(".env")) -> Settings:
    """Read the settings. Raises ConfigurationError naming the variable or the key that is wrong."""
    written = {name: value for name, value in dotenv_values(dotenv, interpolate=False).items() if value is not None}
    present = dict(os.environ) if environment is None else dict(environment)
    values = _read_file(written | present) | _read_variables(written) | _read_variables(present)
    try:
        return Settings(**values)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        raise ConfigurationError("; ".join(_describe(problem) for problem in problems) + ".") from None


def _read_variables(variables: Mapping[str, str]) -> dict[str, Any]:
    known = {f"{PREFIX}{name.upper()}" for name in (*Settings.model_fields, *_OUTSIDE)}
    files = {f"{PREFIX}{name.upper()}_FILE" for name in _SECRETS}
    values: dict[str, Any] = {field: variables[name] for name, field in _FOREIGN.items() if variables.get(name)}
    for name, value in variables.items():
        if not name.startswith(PREFIX):
            continue
        if name not in known | files:
            raise ConfigurationError(f"{name} is not a setting.{_suggest(name, known | files)}")
        field = name.removeprefix(PREFIX).lower()
        if name in files:
            values[field.removesuffix("_file")] = _read_secret_file(name, value, variables)
        elif f"{name}_FILE" not in variables:
            values[field] = value
    return {field: value for field, value in values.items() if field not in _OUTSIDE}


def _read_secret_file(name: str, path: str, variables: Mapping[str, str]) -> str:
    if name.removesuffix("_FILE") in variables:
        raise ConfigurationError(f"{name} and {name.removesuffix('_FILE')} are both set; expected one of them.")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name}: expected a readable text file ({type(error).__name__}).") from None


def _read_file(variables: Mapping[str, str]) -> dict[str, Any]:
    given = variables.get(f"{PREFIX}CONFIG")
    path = Path(given or "config/receiver.toml")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if given:
            raise ConfigurationError(f"{PREFIX}CONFIG: there is no file {path}.") from None
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: expected a readable TOML file: {error}.") from None
    known = set(Settings.model_fields) - _TOKENS
    for name in values:
        if name in _TOKENS:
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
