"""The packages export of Shiipp: CSV or XLSX, a row for each package. Pure.

Source: docs.aeoral.com, "Packages": the columns begin `User Code`, `Package ID`, `Tracking Number`, `House Number`; the others
are not published. They are found by the names that bodies have. A row has its manifest's number and status.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from receiver.domain.reading import read_id, read_short_text
from receiver.domain.spreadsheets import Row, check_columns, describe_damage, name_cells, read_csv, repeats
from receiver.domain.workbooks import is_workbook, read_xlsx
from receiver.errors import UnexpectedShape
from receiver.sources.field_paths import FieldPaths, find_value, flatten, normalize
from receiver.sources.shiipp import PACKAGE_FIELDS, identify_package, map_item

MAX_EXPORT_BYTES = 64 * 2**20
"""The maximum size of an export. 100,000 packages with 20 columns take about half of that."""

_COLUMNS = frozenset(name for names in PACKAGE_FIELDS.values() for name in names)
_LINE = re.compile(r"Line (\d+): ")  # begins an error that names its line
_MAX_CHARACTERS = 10_000  # of a cell
_STATUS = ("manifeststatus",)
_SHORT_STATUS = ("status",)  # may be that of the package, so it has to be one of a manifest
_MANIFEST_STATUSES = {"draft", "ready", "shipped", "completed"}
_BY_NUMBER = "package:"  # begins the ids of packages that have no package id


class ExportedManifest(NamedTuple):
    """The manifest of a package in an export: its number and id, one of which may be missing, and its status if it is known."""

    number: str | None
    manifest_id: str | None
    status: str | None


class ExportedPackage(NamedTuple):
    """A row of an export: its number, its cells by column, and what identifies the package."""

    line: int
    cells: Mapping[str, str]
    package_id: str | None
    number: str | None
    manifest: ExportedManifest | None

    @property
    def tracker_ids(self) -> tuple[str, ...]:
        """Return the ids under which the package may be known, as `shiipp.identify_package` makes them, and in other case."""
        found = () if self.package_id is None else (self.package_id, self.package_id.lower(), self.package_id.upper())
        by_number = () if self.number is None else (read_id(f"{_BY_NUMBER}{self.number.upper()}") or "",)
        return (*found, *by_number)

    @property
    def message_id(self) -> str | None:
        """Return the id of the message that brings a package with a package id, unless its body has another one."""
        return None if self.package_id is None else f"{_BY_NUMBER}{self.package_id}"


class BuiltItem(NamedTuple):
    """An item of a body, made of a row of an export: the row's number, the package's tracker id, and the item."""

    line: int
    tracker_id: str
    content: Mapping[str, Any]


class BadRow(NamedTuple):
    """A row of an export that cannot be read, with the reason."""

    line: int
    problem: str


class PackageExport:
    """An export: its name, and its rows. Raises UnexpectedShape at once for a file that cannot be read, or with other columns."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        try:
            if len(content) > MAX_EXPORT_BYTES:
                raise UnexpectedShape(f"Expected at most {MAX_EXPORT_BYTES >> 20} MiB. Split the export.")
            self._rows = read_xlsx(content) if is_workbook(content) else read_csv(content)
            self._header = next(self._rows, Row(1, []))
            check_columns(self._header, normalize)
            if not _names_packages(self._header):
                expected = "expected the packages export of Shiipp, with a column Package ID or Tracking Number"
                raise UnexpectedShape(f"Line {self._header.line}: {expected}.")
        except UnexpectedShape as error:
            raise UnexpectedShape(f"{name}: {error.message}") from None

    def read(self) -> Iterator[ExportedPackage | BadRow]:
        """Yield the rows. What makes the rest of the file unreadable is the last bad row."""
        line = self._header.line
        try:
            for row in self._rows:
                line = row.line
                if repeats(self._header, row):
                    continue
                if _names_packages(row) and sum(normalize(cell) in _COLUMNS for cell in row.cells) > 1:
                    words = "a second header, with other columns. Reconcile files with different columns one by one"
                    raise UnexpectedShape(f"Line {row.line}: {words}.")
                try:
                    yield _read_package(self._header, row)
                except ValueError as error:
                    yield BadRow(row.line, str(error))
        except UnexpectedShape as error:
            named = _LINE.match(error.message)
            problem = error.message[named.end() :] if named else error.message
            yield BadRow(int(named[1]) if named else line, f"{problem.rstrip('.')}. Nothing after it was read")


def build_item(package: ExportedPackage, field_paths: FieldPaths, manifest_id: str | None, *, by_number: bool) -> BuiltItem:
    """Return the item that the sender would have sent: the cells, and the mapped ones where the settings look for them.

    `manifest_id` is that of the manifest, if the export has only its number. `by_number`: Shiipp's bodies have no package id.
    Raises ValueError if the result cannot be identified.
    """
    left_out = PACKAGE_FIELDS["package_id"] if by_number and package.number is not None else ()
    item: dict[str, Any] = {name: text for name, text in package.cells.items() if text and normalize(name) not in left_out}
    if manifest_id is not None and not package.cells.get("manifest_id"):
        item["manifest_id"] = manifest_id
    for field, value in map_item("new-package", {}, item).values.items():
        if field_paths.get(field):
            _put(item, field_paths[field][0], value)
    found = identify_package(map_item("new-package", field_paths, item))
    if found is None:
        raise ValueError("no package ID or tracking number at the field paths of the settings")
    return BuiltItem(package.line, found.tracker_id, item)


def write_body(items: Sequence[BuiltItem]) -> bytes:
    """Return a body with these items."""
    return orjson.dumps([item.content for item in items])


def is_by_number(tracker_id: str) -> bool:
    """Tell whether a package is identified by its tracking number, because its body had no package id."""
    return tracker_id.startswith(_BY_NUMBER)


def _names_packages(row: Row) -> bool:
    """Tell whether a row names a column that identifies a package. The state Tennessee does too: TN."""
    return not {*PACKAGE_FIELDS["package_id"], *PACKAGE_FIELDS["tracking_number"]}.isdisjoint(map(normalize, row.cells))


def _read_package(header: Row, row: Row) -> ExportedPackage:
    cells = name_cells(header, row)
    for name, text in cells.items():
        if damage := describe_damage(text):
            raise ValueError(f"column {name}: {damage}")
        if len(text) > _MAX_CHARACTERS:
            raise ValueError(f"column {name}: expected at most {_MAX_CHARACTERS} characters")
    mapped = map_item("new-package", {}, cells)
    package_id, number = mapped.read_id("package_id"), mapped.read_id("tracking_number")
    if package_id is None and number is None:
        raise ValueError("no package ID and no tracking number")
    return ExportedPackage(row.line, cells, package_id, number, _read_manifest(mapped.values, cells))


def _read_manifest(values: Mapping[str, Any], cells: Mapping[str, str]) -> ExportedManifest | None:
    number, manifest_id = (read_id(values.get(name)) for name in ("manifest_number", "manifest_id"))
    if number is None and manifest_id is None:
        return None
    flattened = flatten(cells)
    status = read_short_text(find_value(flattened, _STATUS))
    if status is None:
        short = read_short_text(find_value(flattened, _SHORT_STATUS))
        status = short if short is not None and short.casefold() in _MANIFEST_STATUSES else None
    return ExportedManifest(number, manifest_id, status)


def _put(item: dict[str, Any], path: str, value: object) -> None:
    """Put a value at a field path. An index of a list becomes a key: `field_paths.look_up` finds both."""
    if path.startswith("/"):
        steps = [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]
    else:
        steps = path.split(".")
    for step in steps[:-1]:
        inner = item.get(step)
        item[step] = item = inner if isinstance(inner, dict) else {}
    item[steps[-1]] = value
