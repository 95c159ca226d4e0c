"""Who is told of changes, as the settings say it. Pure: read and checked, nothing is connected."""

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
    """One `[[targets]]` of the file. `subject` is where a broker puts the changes; `allow_private` lets a URL lead into a
    private network.
    """

    subscription: Subscription
    url: str
    timeout_seconds: float = 15.0
    allow_private: bool = False
    subject: str = "receiver.changes"

    @property
    def name(self) -> str:
        """What the target is called, everywhere."""
        return self.subscription.target

    @property
    def kind(self) -> str:
        """What speaks to it: `http` or `nats`."""
        return _KINDS[urlsplit(self.url).scheme]


def read_targets(value: object, sources: Sequence[str]) -> tuple[TargetSettings, ...]:
    """Read the list of tables. Raises ValueError that names the target and what was expected."""
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
            raise ValueError(f"{name}: {key} is not known; the nearest one is {get_close_matches(key, _KEYS, n=1, cutoff=0)[0]}")
    url = _read_url(item, name)
    timeout = item.get("timeout_seconds", 15.0)
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 < timeout <= _MAX_TIMEOUT_SECONDS:
        raise ValueError(f"{name}: timeout_seconds: expected a number up to {_MAX_TIMEOUT_SECONDS:g}")
    subject = item.get("subject", "receiver.changes")
    if not isinstance(subject, str) or not subject or any(letter.isspace() or letter in "*>" for letter in subject):
        raise ValueError(f"{name}: subject: expected words joined by dots, without blanks and wildcards")
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
        whole = parts.scheme in _KINDS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise ValueError(f"{name}: url: expected https://…, http://… or nats://…, in ASCII and without blanks")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{name}: url: a secret does not belong into the file; set RECEIVER_TARGET_SECRETS")
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
        raise ValueError(f"{name}: {key}: expected true or false")  # noqa: TRY004  a ValueError is what becomes a message
    return value
