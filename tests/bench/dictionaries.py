"""`python -m tests.bench.dictionaries` trains a dictionary for a source from the messages of the test kit.

The result is the same each time, with the same version of zstd. A dictionary that was shipped never changes: a better one is the
next version, with an id of its own (`receiver/storage/packed_bodies.py`).
"""

import argparse
import struct
from collections.abc import Iterator, Sequence
from random import Random

import orjson
from backports import zstd
from rich.console import Console

from receiver.clock import first_id
from receiver.domain.answers import count_outcomes, for_receipt
from receiver.domain.records import Receipt
from receiver.domain.verdicts import Verdict
from receiver.storage.packed_bodies import DICTIONARIES
from receiver.testkit.simulate.journeys import IdGenerator
from receiver.testkit.simulate.records import SentMessage
from receiver.testkit.simulate.shiipp import Shiipp
from receiver.testkit.simulate.ship24 import Ship24

_BYTES = 16 * 2**10  # 8 KiB makes frames a tenth larger, 64 KiB none smaller
_SEED = 17
_TRACKERS = {"ship24": 1_500, "shiipp": 4_000}
_ROOM = 50  # messages of one tracker
_GROUPED = 0.2  # of the deliveries; each has a few messages
_NAMES = ("SIM", "JD", "LZ", "RR", "CP", "1Z", "00", "S24DEMO")  # what numbers of couriers begin with
_ARRIVALS = (1_770_000_000_000_000, 1_830_000_000_000_000)  # in microseconds since 1970: two years
_NODE = ("accept-encoding", "gzip, compress, deflate, br")
_CLIENTS: Sequence[Sequence[tuple[str, str]]] = (
    (("user-agent", "axios/1.7.7"), ("accept", "application/json, text/plain, */*"), _NODE),
    (("user-agent", "node"), ("accept", "*/*"), ("accept-language", "*"), ("sec-fetch-mode", "cors"), _NODE),
    (("user-agent", "Go-http-client/1.1"), ("accept-encoding", "gzip")),
    (("user-agent", "Microsoft-Azure-Functions/1.0"), ("request-id", "|{id}.1."), ("traceparent", "00-{id}-{id:.16}-00")),
    (),
)
_FORWARDED = (("x-forwarded-for", "{ip}"), ("x-forwarded-proto", "https"))
_PROXIES: Sequence[Sequence[tuple[str, str]]] = (
    (),
    _FORWARDED,
    (("x-real-ip", "{ip}"), *_FORWARDED, ("x-forwarded-host", "hooks.example.com")),
    (*_FORWARDED, ("cf-ray", "{id:.16}-FRA"), ("cf-connecting-ip", "{ip}"), ("cdn-loop", "cloudflare; loops=1")),
)
_VERDICTS = (("applied", None), ("applied", None), ("stale", "older"), ("duplicate", None))


def train(source: str, dictionary_id: int) -> bytes:
    """Return a dictionary with this id."""
    content = bytearray(zstd.train_dict(list(make_samples(source, _SEED, _TRACKERS[source])), _BYTES).dict_content)
    struct.pack_into("<I", content, 4, dictionary_id)  # behind the magic number, RFC 8878, section 5
    return bytes(content)


def make_samples(source: str, seed: int, trackers: int) -> Iterator[bytes]:
    """Yield contents of deliveries about so many trackers, as they are packed."""
    rng = Random(f"{seed}:{source}")  # it must be the same again
    messages = list(_draw(source, trackers, rng))
    rng.shuffle(messages)
    while messages:
        number = rng.randrange(2, 12) if rng.random() < _GROUPED else 1
        some, messages = messages[:number], messages[number:]
        body, answer = _write_body(source, some), _answer(rng, some)
        headers = _headers(rng, len(body))
        yield struct.pack("<II", len(headers), len(answer)) + headers + answer + body


def _draw(source: str, trackers: int, rng: Random) -> Iterator[SentMessage]:
    """Yield messages. Each tracker has a name of its own, so that none becomes part of the dictionary."""
    for number in range(trackers):
        names = IdGenerator(f"{rng.getrandbits(32):08x}", rng)
        script = (Ship24 if source == "ship24" else Shiipp)(rng, names).write(number, _ROOM)
        for message in script.messages:
            yield message._replace(item=_vary(message.item, rng))


def _vary(item: bytes, rng: Random) -> bytes:
    """Return a message with other numbers and days than the test kit's."""
    year, month, day = rng.randrange(2024, 2028), rng.randrange(1, 13), rng.randrange(1, 29)
    item = item.replace(b"2025-03-", f"{year}-{month:02}-".encode())
    item = item.replace(b"-01T06:00:00", f"-{day:02}T{day % 24:02}:30:00".encode())
    return item.replace(b"SIM", rng.choice(_NAMES).encode())


def _write_body(source: str, messages: Sequence[SentMessage]) -> bytes:
    items = b",".join(message.item for message in messages)
    if source == "ship24":
        return b'{"trackings":[' + items + b"]}"
    return b"[" + items + b"]" if len(messages) > 1 else items


def _answer(rng: Random, messages: Sequence[SentMessage]) -> bytes:
    pairs = tuple([(message.id, Verdict(*rng.choice(_VERDICTS))) for message in messages])
    arrived = first_id(rng.randrange(*_ARRIVALS))
    receipt = Receipt(f"{arrived[:19]}8{rng.getrandbits(12):03x}-{rng.getrandbits(48):012x}", pairs)
    return for_receipt(receipt, count_outcomes(receipt)).body


def _headers(rng: Random, body_bytes: int) -> bytes:
    name, address = f"{rng.getrandbits(128):032x}", ".".join(str(rng.randrange(256)) for _ in range(4))
    sent = [("host", rng.choice(("hooks.example.com", "127.0.0.1:8080"))), *rng.choice(_CLIENTS), *rng.choice(_PROXIES)]
    sent += [("content-type", "application/json"), ("content-length", str(body_bytes))]
    return orjson.dumps([(key, value.format(id=name, ip=address)) for key, value in sent])


def main() -> None:
    words = "Make the dictionaries that `packed_bodies.DICTIONARIES` names and that are not there."
    argparse.ArgumentParser(prog="python -m tests.bench.dictionaries", description=words).parse_args()
    for dictionary in DICTIONARIES:
        if not dictionary.file.exists():
            dictionary.file.write_bytes(train(dictionary.source, dictionary.id))
            Console().print(f"{dictionary.file.name}: {dictionary.file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
