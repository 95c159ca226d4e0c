"""The column types of ids and digests: text here and on PostgreSQL, 16 bytes in a SQLite file where the text is a canonical one.

A UUID as 36 characters makes the keys of every tree of a file twice as long. So a SQLite file holds a UUID in lower case with
hyphens as its bytes, and any other id as text. The same text always has the same form, so equal ids are equal values. Values sort
by form: texts before bytes. UUIDs keep their order among each other, so ids that sort by time still do.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from sqlalchemy import ColumnElement, Text, literal_column
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

_UUID_CHARACTERS = 36
_DIGEST_CHARACTERS = 32

_LATELY = 4096
"""The ids that the writing process keeps with their bytes: a batch has each of its ids in several rows."""

_PAST_THE_LAST = 1 << 128
"""The number after that of the last UUID."""

_AS_TEXT = "="
"""The first character of a value that is text in the file, where bytes and texts are read as one JSON array."""


def pack_uuid(text: str | None) -> str | bytes | None:
    """Return an id as a SQLite file holds it."""
    if text is None or len(text) != _UUID_CHARACTERS or not text[8] == text[13] == text[18] == text[23] == "-":
        return text
    packed = pack_digest(text.replace("-", ""))
    return packed if isinstance(packed, bytes) else text


def pack_digest(text: str | None) -> str | bytes | None:
    """Return a digest as a SQLite file holds it."""
    if text is None or len(text) != _DIGEST_CHARACTERS:
        return text
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        return text
    return packed if packed.hex() == text else text  # not in capitals, and without spaces


def unpack_uuid(stored: str | bytes | None) -> str | None:
    """Return the text of an id that a SQLite file holds."""
    return _write_uuid(stored.hex()) if isinstance(stored, bytes) else stored


def unpack_digest(stored: str | bytes | None) -> str | None:
    """Return the text of a digest that a SQLite file holds."""
    return stored.hex() if isinstance(stored, bytes) else stored


def next_id(text: str) -> str:
    """Return the first id that sorts after one of ours, which all are UUIDs; after another text, one behind it."""
    packed = pack_uuid(text)
    number = int.from_bytes(packed, "big") + 1 if isinstance(packed, bytes) else _PAST_THE_LAST
    return f"{text}0" if number == _PAST_THE_LAST else _write_uuid(f"{number:032x}")


def _write_uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class Form(NamedTuple):
    """The functions between a text and its value in a SQLite file. `pack_cached` remembers some; `write` takes digits."""

    pack: Callable[[str | None], str | bytes | None]
    pack_cached: Callable[[str | None], str | bytes | None]
    unpack: Callable[[Any], str | None]
    write: Callable[[str], str]


class PackedText(TypeDecorator[str]):
    """A text that a SQLite file holds as bytes if it is a canonical one; elsewhere it is a text."""

    impl = Text
    cache_ok = True
    form: ClassVar[Form]

    @property
    def python_type(self) -> type[str]:
        """Return the type of the values in Python."""
        return str

    def bind_processor(self, dialect: Dialect) -> Any:
        """Return the function that packs a parameter, None where there is nothing to do."""
        return self.form.pack if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Return the function that unpacks a value, None where there is nothing to do."""
        return self.form.unpack if dialect.name == "sqlite" else super().result_processor(dialect, coltype)


class IdText(PackedText):
    """An id: of a vendor's message, event or tracker, or one of ours."""

    cache_ok = True
    form = Form(pack_uuid, lru_cache(_LATELY)(pack_uuid), unpack_uuid, _write_uuid)


class DigestText(PackedText):
    """A digest of content, as `reading.digest` writes it."""

    cache_ok = True
    form = Form(pack_digest, pack_digest, unpack_digest, str)


def as_json(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column as a SQLite file puts it into a JSON array, which holds no bytes: those as digits."""
    if not isinstance(column.type, PackedText):
        return column
    return literal_column(f"CASE typeof({column}) WHEN 'blob' THEN hex({column}) ELSE '{_AS_TEXT}' || {column} END")


def read_json(rows: list[list[Any]], columns: Sequence[ColumnElement[Any]]) -> list[list[Any]]:
    """Return the rows of JSON arrays with the texts of their ids and digests, which `as_json` wrote."""
    for place, column in enumerate(columns if rows else ()):
        if isinstance(column.type, PackedText):
            write = column.type.form.write
            for row in rows:
                value = row[place]
                if value is not None:
                    row[place] = value[1:] if value[0] == _AS_TEXT else write(value.lower())
    return rows
