"""The `[[targets]]` of the settings file, read and checked. Nothing here opens a connection."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from receiver.domain.changes import BASES, Subscription

_KINDS = {"http": "http", "https": "http", "nats": "nats"}  # by the scheme of the URL
_KEYS = ("name", "url", "sources", "milestones", "milestone_changed", "basis", "timeout_seconds", "allow_private", "subject")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
_MAX_TIMEOUT_SECONDS = 60.0


class TargetSettings(NamedTuple):
    """One target. `subject` is the NATS subject of its changes; `allow_private` permits a URL in a private network."""

    subscription: Subscription
    url: str
    timeout_seconds: float = 15.0
    allow_private: bool = False
    subject: str = "receiver.changes"

    @property
    def name(self) -> str:
        """Name of the target."""
        return self.subscription.target

    @property
    def kind(self) -> str:
        """Protocol: `http` or `nats`."""
        return _KINDS[urlsplit(self.url).scheme]


def read_targets(value: object, sources: Sequence[str]) -> tuple[TargetSettings, ...]:
    """Return the targets in a list of tables. Raises ValueError that names the target and what was expected."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
        raise ValueError("expected tables in the file, each headed [[targets]]")
    targets = tuple(_read_target(item, sources) for item in value)
    if len({target.name for target in targets}) < len(targets):
        raise ValueError("expected each target to have its own name")
    return targets


def _read_target(item: Mapping[str, Any], sources: Sequence[str]) -> TargetSettings:
    name = item.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("a target needs a name of up to 40 letters, digits, - and _")
    for key in item:
        if key not in _KEYS:
            raise ValueError(
                f"{name}: {key} is not a key of a target; the nearest one is {get_close_matches(key, _KEYS, n=1, cutoff=0)[0]}"
            )
    url = _read_url(item, name)
    timeout = item.get("timeout_seconds", 15.0)
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 < timeout <= _MAX_TIMEOUT_SECONDS:
        raise ValueError(f"{name}: timeout_seconds: expected a number up to {_MAX_TIMEOUT_SECONDS:g}")
    subject = item.get("subject", "receiver.changes")
    if not isinstance(subject, str) or not subject or any(character.isspace() or character in "*>" for character in subject):
        raise ValueError(f"{name}: subject: expected words joined by dots, without spaces and wildcards")
    subscription = Subscription(
        name,
        _read_words(item, name, "sources", sources),
        _read_words(item, name, "milestones", None),
        _read_flag(item, name, "milestone_changed"),
        _read_basis(item, name),
    )
    return TargetSettings(subscription, url, float(timeout), _read_flag(item, name, "allow_private"), subject)


def _read_url(item: Mapping[str, Any], name: str) -> str:
    url = item.get("url")
    try:
        parts = urlsplit(
            url if isinstance(url, str) and url.isascii() and url.isprintable() and not set(url) & {" ", "\\"} else ""
        )
        valid = parts.scheme in _KINDS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"{name}: url: expected https://…, http://… or nats://…, in ASCII and without spaces")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{name}: url: remove the user and password; set RECEIVER_TARGET_SECRETS instead")
    return str(url)


def _read_words(item: Mapping[str, Any], name: str, key: str, known: Sequence[str] | None) -> frozenset[str] | None:
    words = item.get(key)
    if words is None:
        return None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise ValueError(f'{name}: {key}: expected a list of words, such as ["delivered"]')
    for word in words:
        if known is not None and word not in known:
            raise ValueError(f"{name}: {key}: {word} is not one of {', '.join(known)}")
    return frozenset(words)


def _read_basis(item: Mapping[str, Any], name: str) -> str:
    basis = item.get("basis", "events")
    if basis not in BASES:
        raise ValueError(f"{name}: basis: expected one of {', '.join(BASES)}")
    return str(basis)


def _read_flag(item: Mapping[str, Any], name: str, key: str) -> bool:
    value = item.get(key, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name}: {key}: expected true or false")  # noqa: TRY004  pydantic makes a message of a ValueError only
    return value
