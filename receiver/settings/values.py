"""Parsers and types of the values of settings.

A ValueError says what was expected. It never quotes the value, which could be a secret.
"""

import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from datetime import date
from difflib import get_close_matches
from typing import Annotated, Any
from urllib.parse import unquote, unquote_plus, urlsplit

from pydantic import BeforeValidator, Field

from receiver.access.addresses import Network, has_host_bits, read_network
from receiver.access.bearer import MIN_TOKEN_CHARACTERS, Secret
from receiver.domain.trimming import trim
from receiver.settings.targets import TargetSettings, read_targets
from receiver.sources import NAMES
from receiver.sources.field_paths import check_field_path
from receiver.sources.shiipp import FIELDS

_QUOTES = ("'", '"', "`", "\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_SHORT = "short-token"  # the name of a token that has no other name and is too short for a fingerprint
_PASSWORD = re.compile(r"://[^:/]*:([^@]+)@|[?&](?:ssl)?password=([^&#]+)")
_MAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}")
_MIN_SECRET_CHARACTERS = 16  # a shorter part of a URL is a word that logs may contain


def read_tokens(value: object) -> tuple[Secret, ...]:
    """Return the tokens in `token,name:token`. A token without a name is named by its fingerprint, such as `token-3f9a1c07`.

    Its position is no name: with a new token in front, the name would pass to that one. A short token has no fingerprint.
    """
    secrets = []
    for number, item in enumerate(_items(value), 1):
        name, colon, token = item.partition(":")
        name, token = (trim(name), trim(token)) if colon else ("", item)
        is_name = not colon or _NAME.fullmatch(name) is not None
        if problem := _find_problem(token) or (None if is_name else _find_problem(item)):
            raise ValueError(f"entry {number} cannot be sent in a bearer header: {problem}")
        if not is_name:
            raise ValueError("expected comma-separated tokens, each as `token` or `name:token`")
        secrets.append(Secret(name or _name_token(token), token))
    _check_names(secrets)
    return tuple(secrets)


def _name_token(token: str) -> str:
    fingerprint = Secret("", token).fingerprint
    return _SHORT if fingerprint is None else f"token-{fingerprint}"


def _check_names(secrets: Sequence[Secret]) -> None:
    names = [secret.name for secret in secrets]
    if names.count(_SHORT) > 1:
        raise ValueError(f"expected `name:token` for tokens of fewer than {MIN_TOKEN_CHARACTERS} characters if there are several")
    if len(set(names)) < len(names):
        raise ValueError("expected different tokens, each with its own name")


def _find_problem(token: str) -> str | None:
    """Return the reason why a sender cannot send the token as `Authorization: Bearer <token>`, or None if it can.

    RFC 6750, 2.1, allows letters, digits and `-._~+/=`. Senders, proxies and servers pass any visible ASCII (RFC 9110, 5.5), and
    people use it. Quotes are refused, because they are usually copied by mistake.
    """
    if not token:
        return "it is empty"
    if re.match(r"bearer(\s|$|:)", token, re.IGNORECASE):
        return "remove `Bearer` in front of it"
    if any(quote in token for quote in _QUOTES):
        return "remove the quotes"
    if any(character.isspace() for character in token):
        return "it contains a space"
    return None if token.isascii() and token.isprintable() else "it contains a character that is not printable ASCII"


def read_target_secrets(value: object) -> tuple[Secret, ...]:
    """Return the secrets in `target:secret,target:secret`. A target may have several; its signatures have this order."""
    secrets = []
    for item in _items(value):
        name, colon, secret = item.partition(":")
        if not colon or not _NAME.fullmatch(name) or not secret.strip() or not secret.strip().isprintable():
            raise ValueError("expected comma-separated secrets, each as `target:secret`")
        secrets.append(Secret(name, secret.strip()))
    return tuple(secrets)


def read_modules(value: object) -> tuple[str, ...]:
    """Return the names of Python modules in a comma-separated list."""
    names = tuple(_items(value))
    if not all(part.isidentifier() for name in names for part in name.split(".")):
        raise ValueError("expected comma-separated names of modules, such as shop.parcels")
    return names


def read_networks(value: object) -> tuple[Network, ...]:
    """Return the networks in a comma-separated list of addresses and networks."""
    return tuple(_read_network(number, item) for number, item in enumerate(_items(value), 1))


def _read_network(number: int, item: str) -> Network:
    try:
        network = read_network(item)
    except ValueError:
        raise ValueError("expected comma-separated addresses or networks, such as 54.161.7.2,10.0.0.0/8") from None
    if has_host_bits(item):
        raise ValueError(f"entry {number} is an address inside a network; expected the network {network}, or the address alone")
    return network


def read_api_key(value: object) -> Secret | None:
    """Return an API key as a Secret, or None if the value is empty."""
    if value is None or isinstance(value, Secret):
        return value
    text = str(value).strip()
    if not text:
        return None
    if problem := _find_problem(text):
        raise ValueError(f"expected an API key that can be sent in a bearer header: {problem}")
    return Secret("api key", text)


def read_url(value: object) -> Secret | None:
    """Return a URL as a Secret, since it may contain a token, or None if the value is empty."""
    if value is None or isinstance(value, Secret):
        return value
    text = str(value).strip()
    if not text:
        return None
    from urllib3.util import parse_url  # noqa: PLC0415  it takes 40 ms, and most settings have no URL

    try:
        parts = parse_url(text)
        valid = parts.scheme in {"http", "https"} and bool(parts.host)
    except ValueError:
        valid = False
    if not valid or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("expected a URL that begins with http:// or https:// and names a host")
    return Secret("url", text)


def read_smtp_url(value: object) -> Secret | None:
    """Return the URL of a mail server as a Secret, since it may contain a password, or None if the value is empty."""
    if value is None or isinstance(value, Secret):
        return value
    text = str(value).strip()
    if not text:
        return None
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"smtp", "smtps"} and bool(parts.hostname) and parts.port != 0
        valid = valid and not parts.path.strip("/") and not parts.query and (bool(parts.username) or parts.password is None)
    except ValueError:
        valid = False
    if not valid or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("expected smtp://user:password@host:587 or smtps://user:password@host; write @ in a password as %40")
    return Secret("smtp_url", text)


def read_mail_addresses(value: object) -> tuple[str, ...]:
    """Return the mail addresses in a comma-separated list."""
    addresses = tuple(_items(value))
    for number, address in enumerate(addresses, 1):
        if not _MAIL_ADDRESS.fullmatch(address):
            raise ValueError(f"entry {number} is not a mail address; expected comma-separated ones, such as ops@example.com")
    return addresses


def read_mail_address(value: object) -> str:
    """Return one mail address, or an empty text."""
    addresses = read_mail_addresses(value)
    if len(addresses) > 1:
        raise ValueError("expected one mail address")
    return addresses[0] if addresses else ""


def read_command(value: object) -> tuple[str, ...]:
    """Return a command and its arguments, given as a list or quoted as for a shell. An empty value means no command."""
    try:
        words = tuple(map(str, value)) if isinstance(value, list | tuple) else tuple(shlex.split(str(value)))
    except ValueError:
        raise ValueError("expected a command and its arguments, with every quote closed") from None
    if words and ("\0" in "".join(words) or shutil.which(words[0]) is None):
        raise ValueError("expected a command; its first word is not a program on this machine")
    return words


def read_ends(value: object) -> dict[str, date]:
    """Return the last day of each token, by `source:name`."""
    if not isinstance(value, dict) or not all(type(ends) is date for ends in value.values()):  # a datetime is a date too
        raise ValueError('expected a table in the file: a token and its last day, such as "ship24:old" = 2026-12-31')
    return {str(token): ends for token, ends in value.items()}


def find_secrets(url: str) -> set[str]:
    """Return the secrets in a URL with a token: the whole URL, its passwords, and each long part of its path and query."""
    address, _, path = url.partition("://")[2].partition("/")
    pieces = [path, *re.split(r"[/?&=#;]", path), *re.split(r"[:@]", address.rpartition("@")[0])]
    return {url, *find_passwords(url), *(piece for piece in pieces if len(piece) >= _MIN_SECRET_CHARACTERS)}


def find_passwords(url: str) -> set[str]:
    """Return the passwords in a URL, as written and decoded."""
    found = [one or other for one, other in _PASSWORD.findall(url)]
    return {*found, *map(unquote_plus, found), *map(unquote, found)}


def _items(value: object) -> list[str]:
    parts = value if isinstance(value, list) else str(value).split(",")
    return [trimmed for part in parts if (trimmed := trim(str(part)))]


def _read_field_paths(kind: str) -> Callable[[object], dict[str, tuple[str, ...]]]:
    def read(value: object) -> dict[str, tuple[str, ...]]:
        if not isinstance(value, dict):  # pydantic makes a message of a ValueError only
            raise ValueError("expected a table in the file: for each field a list of field paths")  # noqa: TRY004
        for field, paths in value.items():
            if field not in FIELDS[kind]:
                near = get_close_matches(str(field), sorted(FIELDS[kind]), n=1, cutoff=0)[0]
                raise ValueError(f"{field} is not a field; the nearest one is {near}")
            if not isinstance(paths, list | tuple) or not paths or not all(isinstance(path, str) for path in paths):
                raise ValueError(f'{field}: expected a list of field paths, such as ["data.id", "/parcels/0/id"]')
            for path in paths:
                check_field_path(path)
        return {str(field): tuple(paths) for field, paths in value.items()}

    return read


def _unless_read(read: Callable[[object], tuple[Any, ...]]) -> BeforeValidator:
    """Return a validator that reads a value, unless it is a default: that is read already."""
    return BeforeValidator(lambda value: value if isinstance(value, tuple) else read(value))


Tokens = Annotated[tuple[Secret, ...], _unless_read(read_tokens)]
Networks = Annotated[tuple[Network, ...], _unless_read(read_networks)]
PackagePaths = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_read_field_paths("new-package"))]
ManifestPaths = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_read_field_paths("manifest-status"))]
Modules = Annotated[tuple[str, ...], _unless_read(read_modules)]
Targets = Annotated[tuple[TargetSettings, ...], BeforeValidator(lambda value: read_targets(value, NAMES) if value else ())]
TargetSecrets = Annotated[tuple[Secret, ...], _unless_read(read_target_secrets)]
Url = Annotated[Secret | None, BeforeValidator(read_url)]
ApiKey = Annotated[Secret | None, BeforeValidator(read_api_key)]
SmtpUrl = Annotated[Secret | None, BeforeValidator(read_smtp_url)]
MailAddress = Annotated[str, BeforeValidator(read_mail_address)]
MailAddresses = Annotated[tuple[str, ...], _unless_read(read_mail_addresses)]
Command = Annotated[tuple[str, ...], BeforeValidator(read_command)]
Ends = Annotated[dict[str, date], BeforeValidator(read_ends)]
Hours = Annotated[float, Field(ge=0, le=8760)]
Percent = Annotated[float, Field(ge=0, lt=100)]
