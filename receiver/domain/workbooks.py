"""XLSX workbooks: the rows of the first sheet, as texts. Pure.

The sheet is read as a stream: only one row and the shared texts are in memory, and each of them has a limit. Source: ECMA-376,
part 1, 18.3 (cells), 18.4 (shared texts), 18.8.30 (number formats).
"""

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from xml.parsers import expat

from receiver.domain.spreadsheets import Row, read_cell
from receiver.errors import UnexpectedShape

_CHUNK_BYTES = 1 << 16
_MAX_INFLATED_BYTES = 512 * 2**20  # of all parts together
_MAX_PARTS = 10_000
_MAX_SHARED_TEXTS = 2_000_000
_MAX_SHARED_CHARACTERS = 64 * 2**20
_MAX_CELL_CHARACTERS = 32_767  # of spreadsheets
_MAX_COLUMNS = 500
_MAX_FORMATS = 100_000
_ENTRY = b"PK\x01\x02"  # begins each entry of an archive's directory
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"  # also of a workbook with a password
_SHEET_TYPES = ("/worksheet", "/sharedStrings", "/styles")
_LETTERS = re.compile(r"[A-Z]{1,3}(?=[0-9])")
_DATE_FORMATS = {*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)}  # built in
_NO_CODE = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]')  # parts of a number format that are text, fillers, colors or conditions
_DATE_CODE = re.compile("[dmyhs]", re.IGNORECASE)
_EPOCH, _EPOCH_1904 = datetime(1899, 12, 30), datetime(1904, 1, 1)  # noqa: DTZ001  wall clocks of a spreadsheet
_MAX_DAYS = 2_958_465  # 9999-12-31

Start = Callable[[str, dict[str, str]], object]
End = Callable[[str, str], object]


class _Book(NamedTuple):
    """What the cells of a sheet refer to. `date_styles` are the indexes of cell formats that show a date."""

    texts: list[str]
    date_styles: frozenset[int]
    epoch: datetime


class _Archive:
    """The parts of a workbook. All of them together inflate to a bounded size."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._left = _MAX_INFLATED_BYTES

    def read(self, name: str, on_start: Start, on_end: End) -> Iterator[None]:
        """Parse a part; pause after each piece. `on_end` gets the name of an element and its text."""
        parser = _make_parser(on_start, on_end)
        with self._archive.open(name) as part:
            while chunk := part.read(_CHUNK_BYTES):
                self._left -= len(chunk)
                if self._left < 0:
                    raise UnexpectedShape(
                        f"Expected a workbook of at most {_MAX_INFLATED_BYTES >> 20} MiB; inflated, it is larger."
                    )
                parser.Parse(chunk, False)  # noqa: FBT003  the parameter has no name
                yield
            parser.Parse(b"", True)  # noqa: FBT003
        yield

    def read_whole(self, name: str | None, on_start: Start, on_end: End) -> None:
        """Parse a part that may be missing."""
        if name is not None:
            for _ in self.read(name, on_start, on_end):
                pass


def is_workbook(content: bytes) -> bool:
    """Tell whether a file is no text but an archive, or a workbook of old Excel, which cannot be read."""
    return content.startswith((b"PK\x03\x04", b"PK\x05\x06", _OLD_EXCEL))


def read_xlsx(content: bytes) -> Iterator[Row]:
    """Yield the rows of the first sheet that have content. A formula begins with `=`. Raises UnexpectedShape."""
    if content.startswith(_OLD_EXCEL):
        raise UnexpectedShape(
            "This is a workbook of old Excel (.xls), or one with a password. Save it as XLSX without a password."
        )
    if content.count(_ENTRY) > _MAX_PARTS:
        raise UnexpectedShape(f"Expected a workbook of at most {_MAX_PARTS} parts.")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield from _read_rows(_Archive(archive))
    except expat.ExpatError as error:
        raise UnexpectedShape(f"The workbook is damaged: {error}.") from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        KeyError,
        ValueError,
        IndexError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise UnexpectedShape(f"The workbook is damaged, or no XLSX ({type(error).__name__}).") from None


def _read_rows(archive: _Archive) -> Iterator[Row]:
    sheet, parts, epoch = _find_parts(archive)
    texts = _read_shared_texts(archive, parts.get("/sharedStrings"))
    book = _Book(texts, _read_date_styles(archive, parts.get("/styles")), epoch)
    reader = _SheetReader(book)
    for _ in archive.read(sheet, reader.start, reader.end):
        yield from reader.take()


def _find_parts(archive: _Archive) -> tuple[str, Mapping[str, str], datetime]:
    """Return the name of the first sheet's part, the names of the other parts by the ends of their types, and the first day."""
    sheets: list[str] = []
    targets: dict[str, str] = {}
    kinds: dict[str, str] = {}
    epochs: list[datetime] = []

    def see_book(name: str, attributes: dict[str, str]) -> None:
        if name == "sheet":
            sheets.extend(value for key, value in attributes.items() if key.endswith(":id") or key == "id")
        elif name == "workbookPr" and attributes.get("date1904") in {"1", "true"}:
            epochs.append(_EPOCH_1904)

    def see_relation(name: str, attributes: dict[str, str]) -> None:
        kind = next((end for end in _SHEET_TYPES if attributes.get("Type", "").endswith(end)), None)
        if name == "Relationship" and kind is not None:
            targets[attributes["Id"]] = kinds[kind] = posixpath.normpath(posixpath.join("/xl", attributes["Target"])).lstrip("/")

    archive.read_whole("xl/workbook.xml", see_book, _ignore)
    archive.read_whole("xl/_rels/workbook.xml.rels", see_relation, _ignore)
    return targets[sheets[0]], kinds, epochs[0] if epochs else _EPOCH


def _read_shared_texts(archive: _Archive, name: str | None) -> list[str]:
    texts: list[str] = []
    pieces: list[str] = []
    is_reading = [True]
    characters = 0

    def start(name: str, _attributes: dict[str, str]) -> None:
        if name == "rPh":  # how an East Asian text is read aloud
            is_reading[0] = False

    def end(name: str, text: str) -> None:
        nonlocal characters
        if name == "rPh":
            is_reading[0] = True
        elif name == "t" and is_reading[0]:
            pieces.append(text)
        elif name == "si":
            whole = "".join(pieces)[: _MAX_CELL_CHARACTERS + 1]
            pieces.clear()
            texts.append(whole)
            characters += len(whole)
            if len(texts) > _MAX_SHARED_TEXTS or characters > _MAX_SHARED_CHARACTERS:
                raise UnexpectedShape("The workbook has too many texts. Save it as CSV UTF-8, or split it.")

    archive.read_whole(name, start, end)
    return texts


def _read_date_styles(archive: _Archive, name: str | None) -> frozenset[int]:
    dates, found = set(_DATE_FORMATS), set[int]()
    state = {"is_inside": False, "index": 0}

    def start(name: str, attributes: dict[str, str]) -> None:
        if name == "numFmt" and len(dates) < _MAX_FORMATS and _DATE_CODE.search(_NO_CODE.sub("", attributes["formatCode"])):
            dates.add(int(attributes["numFmtId"]))
        elif name == "cellXfs":
            state["is_inside"] = True
        elif name == "xf" and state["is_inside"]:
            if int(attributes.get("numFmtId", 0)) in dates and len(found) < _MAX_FORMATS:
                found.add(state["index"])
            state["index"] += 1

    def end(name: str, _text: str) -> None:
        if name == "cellXfs":
            state["is_inside"] = False

    archive.read_whole(name, start, end)
    return frozenset(found)


class _SheetReader:
    """Collects the rows of a sheet. `take` yields those that are complete."""

    def __init__(self, book: _Book) -> None:
        self._book = book
        self._rows: list[Row] = []
        self._cells: list[str] = []
        self._line = 0
        self._column = 0
        self._type, self._style = "", ""
        self._value = ""
        self._formula: str | None = None

    def take(self) -> list[Row]:
        """Return the complete rows since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        if name == "c":
            self._type, self._style = attributes.get("t", "n"), attributes.get("s", "0")
            self._value, self._formula = "", None
            letters = _LETTERS.match(attributes.get("r", ""))
            self._column = self._column + 1 if letters is None else _read_column(letters[0])
            if self._column > _MAX_COLUMNS:
                raise UnexpectedShape(f"Line {self._line}: expected at most {_MAX_COLUMNS} columns.")
        elif name == "row":
            self._line = int(attributes.get("r", self._line + 1))
            self._column, self._cells = 0, []

    def end(self, name: str, text: str) -> None:
        """End an element."""
        if name == "v" or (name == "t" and self._type == "inlineStr"):
            self._value = (self._value + text)[: _MAX_CELL_CHARACTERS + 1]
        elif name == "f":
            self._formula = text
        elif name == "c":
            self._cells += [""] * (self._column - len(self._cells))
            self._cells[self._column - 1] = read_cell(self._read_value())
        elif name == "row" and any(self._cells):
            self._rows.append(Row(self._line, self._cells))

    def _read_value(self) -> str:
        if self._formula is not None:
            return f"={self._formula}"
        if not self._value:
            return ""
        if self._type == "s":
            return self._book.texts[int(self._value)]
        if self._type == "b":
            return "TRUE" if self._value == "1" else "FALSE"
        if self._type == "n" and int(self._style) in self._book.date_styles:
            return _write_date(self._value, self._book.epoch)
        return self._value


def _make_parser(on_start: Start, on_end: End) -> expat.XMLParserType:
    """Return a parser that gives each end of an element the text inside it. It refuses entities."""
    parser = expat.ParserCreate()
    pieces: list[str] = []
    size = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal size
        pieces.clear()
        size = 0
        on_start(name.rpartition(":")[2], attributes)

    def end(name: str) -> None:
        nonlocal size
        on_end(name.rpartition(":")[2], "".join(pieces))
        pieces.clear()
        size = 0

    def add(text: str) -> None:
        nonlocal size
        if size <= _MAX_CELL_CHARACTERS:
            pieces.append(text)
            size += len(text)

    def refuse(*_: object) -> None:
        raise UnexpectedShape("The workbook is damaged: it declares a document type.")

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, add
    parser.StartDoctypeDeclHandler = refuse
    return parser


def _ignore(_name: str, _text: str) -> None:
    """Do nothing at the end of an element."""


def _read_column(letters: str) -> int:
    """Return the 1-based number of a column."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _write_date(value: str, epoch: datetime) -> str:
    """Return a date of a spreadsheet as ISO 8601 without a zone; a number that is none unchanged."""
    days = float(value)
    if not 1 <= days <= _MAX_DAYS:
        return value
    moment = epoch + timedelta(seconds=round(days * 86400))
    return moment.date().isoformat() if days == int(days) else moment.isoformat()
