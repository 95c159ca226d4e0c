"""What is known of the tokens in the settings, and which of them nobody needs any more. Pure.

Times are microseconds since 1970, UTC.
"""

from collections.abc import Sequence
from typing import NamedTuple

UNUSED_MICROS = 24 * 3600 * 1_000_000
"""A token counts as replaced once it was not used for so long while another one was."""


class TokenUse(NamedTuple):
    """One token in the settings.

    `known_since` is when a service first started with it (None: not yet, or the token is too short for a fingerprint), `used_at`
    its last use, to the minute.
    """

    name: str
    known_since: int | None
    used_at: int | None


class RemovedToken(NamedTuple):
    """A token that was in the settings of a source until `removed_at`."""

    source: str
    name: str
    fingerprint: str
    removed_at: int


def find_replacement(token: TokenUse, tokens: Sequence[TokenUse]) -> str | None:
    """Return the name of the token that replaced this one among the tokens of its source, or None while it may be needed.

    That is the token used last, unless this one is newer: a sender may not have switched to it yet.
    """
    latest = max(tokens, key=lambda other: other.used_at or 0)
    if latest == token or latest.used_at is None or token.known_since is None or latest.known_since is None:
        return None
    was_used_before = token.used_at is not None or token.known_since < latest.known_since
    quiet_since = max(token.known_since, token.used_at or 0)
    is_replaced = token.known_since <= latest.known_since and was_used_before and latest.used_at - quiet_since >= UNUSED_MICROS
    return latest.name if is_replaced else None
