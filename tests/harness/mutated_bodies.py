"""Malformed bodies made from real ones; the same seed gives the same body."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

_NUMBERS = (b"1e999", b"-1e999", b"9" * 400, b"-" + b"9" * 25, b"0.1e-400", b"9223372036854775808", b"NaN", b"1E+2147483648")
_TEXTS = (b"\\ud800", b"\\udfff\\ud800", b"\\u0000", b"\\ud83d", b"\xed\xa0\x80", b"\xff\xfe", b"\x00", b"\\u202e", b"x" * 70_000)
_VALUES: tuple[Any, ...] = (None, True, 0, -1, 1.5, 10**30, "", " ", "\x00", "9999-12-31T23:59:59Z", "0000-00-00", [], {}, [[]])


def mutate(number: int, body: bytes) -> bytes:
    """Return a body that is wrong in one to three ways."""
    chance = Random(number)
    for _ in range(chance.randint(1, 3)):
        body = chance.choice(_MUTATIONS)(chance, body)
    return body


def _flip_bits(chance: Random, body: bytes) -> bytes:
    changed = bytearray(body or b"x")
    for _ in range(chance.randint(1, 20)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(chance: Random, body: bytes) -> bytes:
    start, end = sorted(chance.choices(range(len(body) + 1), k=2))
    return chance.choice([body[:end], body[start:], body[:start] + body[end:]])


def _repeat(chance: Random, body: bytes) -> bytes:
    start, end = sorted(chance.choices(range(len(body) + 1), k=2))
    return body[:end] + body[start:end] * chance.randint(1, 5) + body[end:]


def _nest(chance: Random, body: bytes) -> bytes:
    depth = chance.choice([10, 200, 1100, 50_000])
    opening, closing = chance.choice([(b"[", b"]"), (b'{"trackings":', b"}"), (b'[{"a":', b"}]")])
    return opening * depth + chance.choice([body, b"", b"1"]) + closing * chance.choice([depth, depth - 1])


def _put_number(chance: Random, body: bytes) -> bytes:
    return _put_value(chance, body, chance.choice(_NUMBERS))


def _put_text(chance: Random, body: bytes) -> bytes:
    places = [place for place, byte in enumerate(body) if byte == ord('"')]
    place = chance.choice(places) + 1 if places else 0
    return body[:place] + chance.choice(_TEXTS) + body[place:]


def _put_value(chance: Random, body: bytes, value: bytes | None = None) -> bytes:
    """Write a value behind some colon, in front of the one that stands there, which becomes that of a key of its own."""
    places = [place + 1 for place, byte in enumerate(body) if byte == ord(":")]
    place = chance.choice(places) if places else 0
    value = value or json.dumps(chance.choice(_VALUES)).encode()
    return body[:place] + value + b', "and": ' + body[place:]


def _double_key(chance: Random, body: bytes) -> bytes:
    key = chance.choice([b"trackings", b"messageId", b"trackerId", b"events", b"metadata", b"occurrenceDatetime", b"eventId"])
    value = json.dumps(chance.choice(_VALUES)).encode()
    copies = b", ".join(b'"%s": %s' % (key, value) for _ in range(chance.randint(1, 3)))
    places = [place + 1 for place, byte in enumerate(body) if byte == ord("{")]
    place = chance.choice(places) if places else 0
    return body[:place] + copies + b", " + body[place:]


def _replace_within(chance: Random, body: bytes) -> bytes:
    """Replace one value, however deep, by one of another kind; the body stays JSON."""
    try:
        root = json.loads(body)
    except (ValueError, RecursionError):
        return _flip_bits(chance, body)
    here = root
    while isinstance(here, dict | list) and here:
        place: Any = chance.choice(list(here) if isinstance(here, dict) else range(len(here)))
        inner = here[place]
        if chance.random() < 0.2 or not isinstance(inner, dict | list) or not inner:
            here[place] = chance.choice(_VALUES)
            break
        here = inner
    return json.dumps(root).encode()


_MUTATIONS: tuple[Callable[[Random, bytes], bytes], ...] = (
    *(_flip_bits, _cut, _repeat, _nest, _put_number, _put_text, _put_value, _double_key),
    *(_replace_within,) * 8,  # what still is JSON goes deepest
)
