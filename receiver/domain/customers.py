"""The customer list that Shiipp downloads: read from a file, all or nothing, and written in Shiipp's format. Pure.

Source: docs.aeoral.com, "Customer list format": an array at the root; `UserCode` or `user_code` is required, trimmed and
upper-cased by Shiipp; a placeholder is stored where a name is missing; Shiipp upserts and never deletes.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from receiver.domain.spreadsheets import check_columns, decode, describe_damage, name_cells, read_csv, repeats, write_line
from receiver.domain.trimming import trim
from receiver.errors import UnexpectedShape

CUSTOMERS_PATH = "/shiipp/customers"
"""The path at which Shiipp fetches the list."""

_FIELDS = {"usercode": "user_code", "firstname": "first_name", "lastname": "last_name", "branch": "branch"}
_SPELLINGS = {"user_code": "UserCode", "first_name": "FirstName", "last_name": "LastName", "branch": "Branch"}
_MAX_CHARACTERS = 200
_PROBLEM = "\0"  # no column has this name; the row cannot be read
_MAX_ERRORS = 20
_REFUSED_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}  # controls, surrogates, line and paragraph separators
_OVERRIDES = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # change the direction of the text after them


class Customer(NamedTuple):
    """A customer of the forwarder. `user_code` is trimmed and in upper case; empty fields are left out of the JSON."""

    user_code: str
    first_name: str = ""
    last_name: str = ""
    branch: str = ""

    def document(self) -> str:
        """Return the customer as JSON in Shiipp's format."""
        served = {_SPELLINGS[name]: value for name, value in self._asdict().items() if value}
        return orjson.dumps(served).decode()


def read_list(content: bytes, name: str) -> list[Customer]:
    """Read a JSON array if `name` ends in .json, otherwise a CSV file with a header.

    Raises UnexpectedShape that lists every error with its line (CSV) or item (JSON).
    """
    return _collect(_read_json(content) if name.lower().endswith(".json") else _read_csv(content))


def check_rows(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Check pairs of customer code and JSON by the rules of a file, and return them normalised. Raises UnexpectedShape."""
    customers = _collect((f"Row {number}", _read_document(document)) for number, (_, document) in enumerate(rows, 1))
    for number, ((code, _), customer) in enumerate(zip(rows, customers, strict=True), 1):
        if trim(code).upper() != customer.user_code:
            raise UnexpectedShape(f"Row {number}: the customer code is not that of the document.")
    return [(customer.user_code, customer.document()) for customer in customers]


def _collect(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Customer]:
    """Read pairs of a position, such as `Line 3`, and a row. Raises UnexpectedShape that lists every error."""
    customers: dict[str, tuple[str, Customer]] = {}
    errors: list[str] = []
    for position, row in rows:
        try:
            customer = _read_customer(row)
        except ValueError as error:
            errors.append(f"{position}: {error}.")
            continue
        if customer.user_code in customers:
            first = customers[customer.user_code][0].lower()
            errors.append(f"{position}: customer code {customer.user_code} is already on {first}.")
        customers[customer.user_code] = position, customer
    if errors:
        more = f"\n… {len(errors) - _MAX_ERRORS} more errors." if len(errors) > _MAX_ERRORS else ""
        raise UnexpectedShape("Import cancelled.\n" + "\n".join(errors[:_MAX_ERRORS]) + more)
    return [customer for _, customer in customers.values()]


def write_csv(customers: Iterable[Mapping[str, Any]]) -> str:
    """Return customers in Shiipp's format as CSV with a header. No cell is a formula, and `read_list` reads all as they were."""
    names = list(_SPELLINGS.values())
    return write_line(names) + "".join(write_line(customer.get(name) for name in names) for customer in customers)


def _read_csv(content: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    rows = read_csv(content)
    header = next(rows, None)
    if header is None or not any(_fold(name) == "usercode" for name in header.cells):
        raise UnexpectedShape(f"Line {header.line if header else 1}: expected a header with a column UserCode (or user_code).")
    check_columns(header, lambda name: _FIELDS.get(_fold(name), ""))
    for row in rows:
        if repeats(header, row):
            continue
        try:
            named = name_cells(header, row)
        except ValueError as error:
            named = {_PROBLEM: str(error)}
        yield f"Line {row.line}", named


def _read_json(content: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        rows = orjson.loads(decode(content))
    except orjson.JSONDecodeError as error:
        raise UnexpectedShape(f"Line {error.lineno}, character {error.colno}: {error.msg}.") from None
    if not isinstance(rows, list):
        raise UnexpectedShape("Expected a JSON array of customers at the root.")
    for number, row in enumerate(rows, 1):
        yield f"Item {number}", row if isinstance(row, dict) else {}


def _read_document(document: str) -> Mapping[str, Any]:
    row = orjson.loads(document)
    return row if isinstance(row, dict) else {}


def _read_customer(row: Mapping[str, Any]) -> Customer:
    if _PROBLEM in row:
        raise ValueError(row[_PROBLEM])
    values: dict[str, Any] = {}
    for name, value in row.items():
        if (field := _FIELDS.get(_fold(name))) is None or value is None:
            continue
        if field in values:
            raise ValueError(f"{_SPELLINGS[field]} stands there twice, in two spellings")
        values[field] = value
    found = {name: _read_field(_SPELLINGS[name], value) for name, value in values.items()}
    code = found.pop("user_code", "").upper()
    if not code:
        raise ValueError("expected a customer code in the column UserCode (or user_code)")
    if _FIELDS.get(_fold(code)) == "user_code":
        raise ValueError(
            "a second header, with other columns; import files with different columns one by one, or join them in order"
        )
    return Customer(code, **found)


def _read_field(column: str, value: object) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f"column {column}: expected text")  # noqa: TRY004  collected with the others
    text = trim(str(value)).replace("\N{NO-BREAK SPACE}", " ")  # spreadsheets write those
    if not text.isprintable():
        _check_characters(column, text)
    if damage := describe_damage(text):
        raise ValueError(f"column {column}: {damage}")
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"column {column}: expected at most {_MAX_CHARACTERS} characters, not {len(text)}")
    return text


def _check_characters(column: str, text: str) -> None:
    """Reject characters that no name contains. Joiners, marks and spaces of other scripts are allowed."""
    for number, character in enumerate(text, 1):
        if character in _OVERRIDES or unicodedata.category(character) in _REFUSED_CATEGORIES:
            name = unicodedata.name(character, "a control character").lower()
            raise ValueError(f"column {column}, character {number}: U+{ord(character):04X} ({name}) is not allowed")


def _fold(name: str) -> str:
    return trim(name).replace("_", "").replace(" ", "").casefold()
