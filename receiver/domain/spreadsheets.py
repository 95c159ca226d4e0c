"""CSV files from and for spreadsheets: separators, encodings, empty rows, formulas, error values, shortened numbers."""

import csv
import io
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import orjson

from receiver.domain.trimming import trim
from receiver.errors import UnexpectedShape

_SEPARATORS = ",;\t|"
_SEPARATOR_LINE = re.compile(r'"?sep=([^"\r\n])\1*"?[^\S\r\n]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
_TEXT_FORMULA = re.compile(r'="((?:[^"]|"")*)"', re.DOTALL)  # people write this so that Excel does not read 00123 as 123
_ERROR_VALUE = re.compile(r"#[^\W\d_][\w/]*[!?]|#N/A|#NV|Err:\d{3}", re.IGNORECASE)
_FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the last four are the wide forms (OWASP, CSV injection)
_SHORTENED_NUMBER = re.compile(r"\d(?:[.,]\d+)?E\+\d+", re.IGNORECASE)  # 1.23457E+14: most digits are lost
_PIECE_BYTES = 1 << 20
_MAX_LINE_CHARACTERS = 4 * 2**20


class WrongEncoding(UnexpectedShape):
    """A file is neither UTF-8 nor UTF-16 with a byte order mark."""


class Row(NamedTuple):
    """A row with content: the number of its first line and its trimmed cells."""

    line: int
    cells: list[str]


def read_csv(content: bytes) -> Iterator[Row]:
    """Yield the rows of a CSV file, the header first. Raises UnexpectedShape with the line, and the column if known.

    The text is decoded piece by piece, after all of it was checked.
    """
    lines = io.TextIOWrapper(io.BytesIO(content), _check_encoding(content), newline="")
    start, line = lines.readline(), 1
    separator = None
    if named := _SEPARATOR_LINE.match(start):
        separator, start, line = named[1], lines.readline(), 2
    while start and not start.strip():
        start, line = lines.readline(), line + 1
    delimiter, first_line = separator or _find_separator(start), line
    reader = csv.reader(_limit_lines(chain([start], lines), first_line), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            trimmed = [read_cell(cell) for cell in cells]
            if any(trimmed):
                yield Row(line, trimmed)
            line = reader.line_num + first_line
    except csv.Error as error:
        raise UnexpectedShape(f"Line {line}: {error}.") from None


def _limit_lines(lines: Iterable[str], first_line: int) -> Iterator[str]:
    """Yield lines. One line of separators alone would take all memory."""
    for number, line in enumerate(lines, first_line):
        if len(line) > _MAX_LINE_CHARACTERS:
            raise UnexpectedShape(f"Line {number}: expected at most {_MAX_LINE_CHARACTERS} characters.")
        yield line


def check_columns(header: Row, fold: Callable[[str], str]) -> None:
    """Raise UnexpectedShape if two columns have the same name. `fold` returns what names are compared by, empty to skip one."""
    numbers: dict[str, int] = {}
    for number, name in enumerate(header.cells, 1):
        folded = fold(name)
        if folded and folded in numbers:
            raise UnexpectedShape(
                f"Line {header.line}, column {number}: {name} is already column {numbers[folded]}. Rename or remove one of them."
            )
        numbers[folded] = number


def repeats(header: Row, row: Row) -> bool:
    """Tell whether a row is the header again, as where files were joined."""
    first, again = (" ".join(cells).rstrip().casefold() for cells in (header.cells, row.cells))
    return first == again


def name_cells(header: Row, row: Row) -> dict[str, str]:
    """Return the cells of a row by the names of their columns. Raises ValueError for content in a column without a name."""
    extra = next((number for number, cell in enumerate(row.cells, 1) if cell and not _name_of(header, number)), None)
    if extra is not None and extra > len(header.cells):
        raise ValueError("more cells than the header has columns. Put quotes around text that contains the separator")
    if extra is not None:
        raise ValueError(f"column {extra} has no name in the header; name it or remove it")
    return {name: cell for name, cell in zip(header.cells, row.cells, strict=False) if name}


def _name_of(header: Row, number: int) -> str:
    return header.cells[number - 1] if number <= len(header.cells) else ""


def decode(content: bytes) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark. Raises WrongEncoding with the line."""
    encoding = _find_encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding, "ignore")
        line, column = before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1
        wrong = content[error.start : error.start + 1].hex().upper()
        raise WrongEncoding(
            f"Line {line}, character {column}: byte 0x{wrong} is not {error.encoding.upper()}. Save the file as CSV UTF-8."
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise WrongEncoding(f"Line {line}: expected text; there is a NUL character. Save the file as CSV UTF-8.")
    return text


def _find_encoding(content: bytes) -> str:
    return "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"


def _check_encoding(content: bytes) -> str:
    """Return the encoding of a file. Raises WrongEncoding as `decode` does, but has only a piece of the text in memory."""
    encoding = _find_encoding(content)
    decoder = getincrementaldecoder(encoding)()
    try:
        for start in range(0, len(content) + 1, _PIECE_BYTES):
            piece = content[start : start + _PIECE_BYTES]
            if "\0" in decoder.decode(piece, final=start + _PIECE_BYTES > len(content)):
                decode(content)
    except UnicodeDecodeError:
        decode(content)
    return encoding


def describe_damage(text: str) -> str | None:
    """Describe the damage that a spreadsheet did to the text of a cell; None if there is none."""
    if text.startswith("="):
        return "a formula; expected its value"
    if _ERROR_VALUE.fullmatch(text):
        return "an error value of a spreadsheet"
    return "a number that a spreadsheet shortened; format the column as text" if _SHORTENED_NUMBER.fullmatch(text) else None


def write_line(values: Iterable[object]) -> str:
    """Return a line of CSV. None is an empty cell, and an object or a list is JSON.

    Spreadsheets run no text in it as a formula, and `read_csv` reads each text back, trimmed. Source: owasp.org, "CSV Injection":
    cells that begin with one of these characters are run.
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(map(_write_cell, values))  # RFC 4180
    return out.getvalue()


def _write_cell(value: object) -> object:
    if isinstance(value, bool | dict | list):
        return orjson.dumps(value).decode()
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return '="{}"'.format(value.replace('"', '""'))
    return value


def _find_separator(header: str) -> str:
    """Return the most frequent separator in the header."""
    return max(_SEPARATORS, key=header.count)


def read_cell(cell: str) -> str:
    """Return the text of a cell, trimmed and without the formula that only holds a text."""
    trimmed = trim(cell)
    formula = _TEXT_FORMULA.fullmatch(trimmed)
    return trim(formula[1].replace('""', '"')) if formula else trimmed
