"""The packed form of a delivery's content: one zstd frame of its headers, its body and our answer.

A dictionary for each source knows the shape of its deliveries beforehand: a body of 1.3 KB becomes a quarter of a kilobyte. The
frame names its dictionary. A dictionary that was shipped never changes and never goes: rows need it as long as they are kept. A
better one gets the next version and an id of its own (`python -m tests.bench.dictionaries`).
"""

import struct
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

from receiver.domain.rows import BodyRow
from receiver.errors import BodyDamaged

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_CONTENT_BYTES = 128 * 2**20
"""Larger contents are stored as they are, and no frame is unpacked to more. The largest body that may be allowed is smaller."""

_LEVEL = 3  # 1 makes single messages 7 % larger, 4 and more cost twice the time and gain little
_FOLDER = Path(__file__).parent / "dictionaries"
_LENGTHS = struct.Struct("<II")  # of the headers and the answer, in front of both and the body
_OPTIONS: dict[int, int] = {zstd.CompressionParameter.compression_level: _LEVEL, zstd.CompressionParameter.checksum_flag: 1}


class Dictionary(NamedTuple):
    """A dictionary in the package. Its id is in the frames: 32768 and more are for private use, and two bytes long (RFC 8878)."""

    id: int
    source: str
    version: int

    @property
    def file(self) -> Path:
        """Return the file with its content."""
        return _FOLDER / f"{self.source}-{self.version}.dict"


DICTIONARIES = (Dictionary(32769, "ship24", 1), Dictionary(32770, "shiipp", 1))
"""All that were ever shipped. Of each source, the last one packs."""


class BodyPacker:
    """Packs contents. One thread may use it at a time; it keeps a prepared compressor for each source."""

    def __init__(self) -> None:
        self._compressors: dict[str, zstd.ZstdCompressor] = {}

    def pack(self, source: str, row: BodyRow) -> BodyRow:
        """Return the row with its content packed, or as it is if that makes it no smaller."""
        headers = row.headers.encode()
        content = b"".join((_LENGTHS.pack(len(headers), len(row.answer)), headers, row.answer, row.body))
        if len(content) > MAX_CONTENT_BYTES:
            return row
        compressor = self._compressors.get(source) or self._prepare(source)
        compressor.set_pledged_input_size(len(content))
        frame = compressor.compress(content, zstd.ZstdCompressor.FLUSH_FRAME)
        if len(frame) >= len(content) - _LENGTHS.size:
            return row
        return BodyRow(row.delivery_id, "", frame, b"", len(content))

    def _prepare(self, source: str) -> zstd.ZstdCompressor:
        of_source = [dictionary.id for dictionary in DICTIONARIES if dictionary.source == source]
        prepared = _load(of_source[-1]).as_digested_dict if of_source else None
        self._compressors[source] = zstd.ZstdCompressor(options=_OPTIONS, zstd_dict=prepared)
        return self._compressors[source]


def unpack(row: BodyRow) -> BodyRow:
    """Return the row with its content as it arrived. Raises BodyDamaged."""
    if row.content_bytes is None:
        if not row.headers:  # as in no plain row
            raise _damaged(row, "the size of its frame is missing")
        return row
    content = _decompress(row, row.content_bytes)
    headers_bytes, answer_bytes = _LENGTHS.unpack_from(content)
    answer_at = _LENGTHS.size + headers_bytes
    body_at = answer_at + answer_bytes
    try:
        headers = content[_LENGTHS.size : answer_at].decode()
    except UnicodeDecodeError:
        headers = None
    if headers is None or body_at > len(content):
        raise _damaged(row, "its frame has another content")
    return BodyRow(row.delivery_id, headers, content[body_at:], content[answer_at:body_at])


def _decompress(row: BodyRow, content_bytes: int) -> bytes:
    """Return the content of a frame: exactly so many bytes, and never more than the limit."""
    if not _LENGTHS.size <= content_bytes <= MAX_CONTENT_BYTES:
        raise _damaged(row, f"its size is {content_bytes:,}")
    try:
        dictionary_id = zstd.get_frame_info(row.body).dictionary_id
        decompressor = zstd.ZstdDecompressor(_find(row, dictionary_id) if dictionary_id else None)
        content = decompressor.decompress(row.body, content_bytes + 1)
    except zstd.ZstdError:
        raise _damaged(row, "its frame or its checksum is wrong") from None
    if len(content) != content_bytes or not decompressor.eof or decompressor.unused_data:
        raise _damaged(row, f"its frame does not end after {content_bytes:,} bytes")
    return content


def _find(row: BodyRow, dictionary_id: int) -> zstd.ZstdDict:
    known = [dictionary.id for dictionary in DICTIONARIES]
    if dictionary_id not in known:
        raise BodyDamaged(
            f"The body of delivery {row.delivery_id} was packed with dictionary {dictionary_id}. This program has "
            f"{', '.join(map(str, known))}. Use the version of receiver that stored it, or a later one."
        )
    return _load(dictionary_id)


@cache
def _load(dictionary_id: int) -> zstd.ZstdDict:
    (file,) = (dictionary.file for dictionary in DICTIONARIES if dictionary.id == dictionary_id)
    return zstd.ZstdDict(file.read_bytes())


def _damaged(row: BodyRow, why: str) -> BodyDamaged:
    return BodyDamaged(
        f"The stored body of delivery {row.delivery_id} is damaged: {why}. Restore a copy of the database to read it."
    )
