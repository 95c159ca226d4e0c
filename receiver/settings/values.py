"""What the text of a setting means. A ValueError says what was expected; it never quotes what was given: that may be a secret."""

import re
import shlex
import shutil
from collections.abc import Callable
from datetime import date
from difflib import get_close_matches
from typing import Annotated
from urllib.parse import unquote, unquote_plus

from pydantic import BeforeValidator, Field
from urllib3.util import parse_url

from receiver.access.addresses import Network, has_host_bits, read_network
from receiver.access.bearer import Secret
from receiver.domain.trimming import trim
from receiver.settings.targets import TargetSettings, read_targets
from receiver.sources import NAMES
from receiver.sources.field_paths import check_place
from receiver.sources.shiipp import FIELDS

_QUOTES = ("'", '"', "`", "\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_PASSWORD = re.compile(r"://[^:/]*:([^@]+)@|[?&](?:ssl)?password=([^&#]+)")
_TELLING_LETTERS = 16  # a part of a URL that is as long may be a token; a shorter one is a word that stands elsewhere too


def read_tokens(value: object) -> tuple[Secret, ...]:
    """Read `token,name:token`; a token without a name is called by its place, `token-1`."""
    secrets = []
    for place, item in enumerate(_items(value), 1):
        name, colon, token = item.partition(":")
        if not colon:
            name, token = f"token-{place}", item
        name, token = trim(name), trim(token)
        if flaw := _flaw_of(token) or (None if _NAME.fullmatch(name) else _flaw_of(item)):
            raise ValueError(f"entry {place} can be sent in no bearer header: {flaw}")
        if not _NAME.fullmatch(name):
            raise ValueError("expected comma-separated tokens, each as `token` or `name:token`")
        secrets.append(Secret(name, token))
    if len({secret.name for secret in secrets}) < len(secrets):
        raise ValueError("expected each token to have its own name")
    return tuple(secrets)


def _flaw_of(token: str) -> str | None:
    """Return why no sender can send a token as `Authorization: Bearer <token>`; None: it can.

    RFC 6750, 2.1, allows letters, digits and `-._~+/=`. Senders, proxies and servers pass any visible ASCII (RFC 9110, 5.5), and
    people use it; quotes are refused since they are left over from the place that the token was copied from.
    """
    if not token:
        return "it is empty"
    if re.match(r"bearer(\s|$|:)", token, re.IGNORECASE):
        return "remove `Bearer` in front of it"
    if any(quote in token for quote in _QUOTES):
        return "remove the quotes"
    if any(character.isspace() for character in token):
        return "it has a space in it"
    return None if token.isascii() and token.isprintable() else "it has a character that is not ASCII, or that does not print"


def read_target_secrets(value: object) -> tuple[Secret, ...]:
    """Read `target:secret,target:secret`; a target may have several, the first signs first."""
    secrets = []
    for item in _items(value):
        name, colon, secret = item.partition(":")
        if not colon or not _NAME.fullmatch(name) or not secret.strip() or not secret.strip().isprintable():
            raise ValueError("expected comma-separated secrets, each as `target:secret`")
        secrets.append(Secret(name, secret.strip()))
    return tuple(secrets)


def read_modules(value: object) -> tuple[str, ...]:
    """Read names of Python modules."""
    names = tuple(_items(value))
    if not all(part.isidentifier() for name in names for part in name.split(".")):
        raise ValueError("expected comma-separated names of modules, such as shop.parcels")
    return names


def read_networks(value: object) -> tuple[Network, ...]:
    """Read addresses and networks."""
    return tuple(_read_network(place, item) for place, item in enumerate(_items(value), 1))


def _read_network(place: int, item: str) -> Network:
    try:
        network = read_network(item)
    except ValueError:
        raise ValueError("expected comma-separated addresses or networks, such as 54.161.7.2,10.0.0.0/8") from None
    if has_host_bits(item):
        raise ValueError(f"entry {place} is an address inside a network; expected the network {network}, or the address alone")
    return network


def read_url(value: object) -> Secret | None:
    """Read the URL of somebody who is told; it may carry a token, so it hides itself. Empty: nobody."""
    if value is None or isinstance(value, Secret):
        return value
    text = str(value).strip()
    if not text:
        return None
    try:
        parts = parse_url(text)
        whole = parts.scheme in {"http", "https"} and bool(parts.host)
    except ValueError:
        whole = False
    if not whole or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("expected a URL that begins with http:// or https:// and names a host")
    return Secret("url", text)


def read_command(value: object) -> tuple[str, ...]:
    """Read a command and its arguments, quoted as for a shell, or as a list. Empty: none."""
    try:
        words = tuple(map(str, value)) if isinstance(value, list | tuple) else tuple(shlex.split(str(value)))
    except ValueError:
        raise ValueError("expected a command and its arguments, every quote closed") from None
    if words and ("\0" in "".join(words) or shutil.which(words[0]) is None):
        raise ValueError("expected a command that can be run here; its first word is no program")
    return words


def read_ends(value: object) -> dict[str, date]:
    """Read on which day each token ends, by `source:name`."""
    if not isinstance(value, dict) or not all(type(ends) is date for ends in value.values()):  # a datetime is a date, too
        raise ValueError('expected a table in the file: a token and its last day, such as "ship24:old" = 2026-12-31')
    return {str(token): ends for token, ends in value.items()}


def find_secrets(url: str) -> set[str]:
    """Return what must not be written of a URL that carries a token: the whole, and each part behind its host that may be one."""
    address, _, path = url.partition("://")[2].partition("/")
    pieces = [path, *re.split(r"[/?&=#;]", path), *re.split(r"[:@]", address.rpartition("@")[0])]
    return {url, *find_passwords(url), *(piece for piece in pieces if len(piece) >= _TELLING_LETTERS)}


def find_passwords(url: str) -> set[str]:
    """Return the passwords in a URL, as written and as meant."""
    found = [one or other for one, other in _PASSWORD.findall(url)]
    return {*found, *map(unquote_plus, found), *map(unquote, found)}


def _items(value: object) -> list[str]:
    parts = value if isinstance(value, list) else str(value).split(",")
    return [trimmed for part in parts if (trimmed := trim(str(part)))]


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
    BeforeValidator(lambda value: value if isinstance(value, tuple) else read_tokens(value)),
]
Networks = Annotated[
    tuple[Network, ...],
    BeforeValidator(lambda value: value if isinstance(value, tuple) else read_networks(value)),
]
PackagePlaces = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_read_places("new-package"))]
ManifestPlaces = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_read_places("manifest-status"))]
Modules = Annotated[tuple[str, ...], BeforeValidator(lambda value: value if isinstance(value, tuple) else read_modules(value))]
Targets = Annotated[tuple[TargetSettings, ...], BeforeValidator(lambda value: read_targets(value, NAMES) if value else ())]
TargetSecrets = Annotated[
    tuple[Secret, ...],
    BeforeValidator(lambda value: value if isinstance(value, tuple) else read_target_secrets(value)),
]
Url = Annotated[Secret | None, BeforeValidator(read_url)]
Command = Annotated[tuple[str, ...], BeforeValidator(read_command)]
Ends = Annotated[dict[str, date], BeforeValidator(read_ends)]
Hours = Annotated[float, Field(ge=0, le=8760, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, lt=100, allow_inf_nan=False)]
