"""The cause of a 401: the place where the token of a request is, and the token that it is. Pure.

The cause is for operators. The sender's answer is the same for every wrong token, so that nobody can find out whose token it is.
Nothing of a wrong token is kept: a token is recognised by its digest in constant time, a removed one by its fingerprint.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl

from receiver.access.bearer import Secret, make_fingerprint, match_token
from receiver.clock import iso
from receiver.domain.tokens import RemovedToken

TOKEN_HEADERS = frozenset({
    *(b"proxy-authorization", b"x-authorization", b"x-api-key", b"api-key", b"apikey", b"x-auth-token", b"auth-token"),
    *(b"x-access-token", b"x-token", b"token", b"x-webhook-token", b"x-webhook-secret", b"x-secret"),
})  # fmt: skip
"""Headers in which senders put a token by mistake."""

_TOKEN_PARAMETERS = frozenset({
    *("token", "access_token", "auth_token", "api_token", "api_key", "apikey", "key", "secret", "auth", "bearer"),
})  # fmt: skip
_WRAPPING = b" \t\"'`<>{}[]"
_API_KEY = b"apik_"  # docs.ship24.com, "Authentication": keys of the API begin with it
_MAX_PLACES = 50  # of one request that are looked at
_MAX_NAME_CHARACTERS = 40


class Cause(NamedTuple):
    """The cause of a refusal: a code (`domain.refusals.CAUSES`), and which token or place it is about."""

    code: str
    detail: str | None = None


class _Place(NamedTuple):
    """One place of a request with a token. `fault` is what is wrong with the place, None for the right one.

    `is_usual`: a token is expected at this place. Others count only if the token is known.
    """

    fault: str | None
    where: str | None
    token: bytes
    is_usual: bool = True


class WrongTokens:
    """Finds the cause of a wrong token. `tokens` are those in the settings by source; `find_removed` takes a fingerprint."""

    def __init__(self, tokens: Mapping[str, Sequence[Secret]], find_removed: Callable[[str], RemovedToken | None]) -> None:
        self._tokens = tokens
        self._find_removed = find_removed

    def explain(self, source: str, headers: Iterable[tuple[bytes, bytes]], query: bytes) -> Cause:
        """Return why the request was not authenticated for a source."""
        places = [place for _, place in zip(range(_MAX_PLACES), _find_places(headers, query), strict=False) if place.token]
        for place in places:
            known = self._recognise(source, place.token)
            if known is not None:
                return self._combine(known, place)
        usual = next((place for place in places if place.is_usual), None)
        if usual is None:
            return Cause("no_token")
        return Cause("unknown_token") if usual.fault is None else Cause(usual.fault, usual.where)

    def _combine(self, known: Cause, place: _Place) -> Cause:
        """Return one cause for a known token at a place: the wrong token comes before the wrong place."""
        if known.code != "right_token":
            return known
        return Cause("several_headers") if place.fault is None else Cause(place.fault, place.where)

    def _recognise(self, source: str, token: bytes) -> Cause | None:
        """Return what is known of a token. Compare with every token, so that the time says nothing about a match."""
        names = {owner: match_token(tokens, token) for owner, tokens in self._tokens.items()}
        if names.get(source) is not None:
            return Cause("right_token")
        if names.get("ops") is not None:
            return Cause("ops_token", names["ops"])
        other = next((owner for owner, name in names.items() if name is not None), None)
        if other is not None:
            return Cause("other_source", f"{other}, {names[other]}")
        removed = self._find_removed(make_fingerprint(token))
        if removed is not None:
            return Cause("removed_token", f"{removed.name}, removed on {iso(removed.removed_at)[:10]}")
        return Cause("api_key") if token.startswith(_API_KEY) else None


def _find_places(headers: Iterable[tuple[bytes, bytes]], query: bytes) -> Iterator[_Place]:
    """Yield the places with a token, the right one first."""
    pairs = list(headers)
    for name, value in pairs:
        if name == b"authorization":
            yield from _read_authorization(value.strip())
    for name, value in sorted(pairs, key=lambda pair: pair[0] not in TOKEN_HEADERS):
        if name != b"authorization":
            shown = name.decode("latin-1")[:_MAX_NAME_CHARACTERS]
            yield _Place("other_header", shown, _without_scheme(value.strip()), name in TOKEN_HEADERS)
    for parameter, text in parse_qsl(query.decode("latin-1")[:4096]):
        is_usual = parameter.lower() in _TOKEN_PARAMETERS
        yield _Place("in_query", parameter[:_MAX_NAME_CHARACTERS], text.encode("utf-8", "surrogateescape"), is_usual)


def _read_authorization(value: bytes) -> Iterator[_Place]:
    scheme, _, credentials = value.partition(b" ")
    credentials = credentials.strip()
    if scheme.lower() == b"basic":
        for part in _decode_basic(credentials):
            yield _Place("basic", None, part)
        return
    if scheme.lower() != b"bearer":
        yield _Place("without_bearer", None, value)
        yield _Place("without_bearer", None, credentials)
        return
    yield _Place(None, None, credentials)
    yield _Place("wrapped", None, _without_scheme(credentials.strip(_WRAPPING)))


def _decode_basic(credentials: bytes) -> Sequence[bytes]:
    """Return password and user of Basic authentication (RFC 7617), or the value itself if it is none."""
    try:
        user, _, password = base64.b64decode(credentials, validate=True).partition(b":")
    except binascii.Error:
        return (credentials,)
    return (password, user)


def _without_scheme(value: bytes) -> bytes:
    return value[7:].strip() if value[:7].lower() == b"bearer " else value
