"""The customer list that Shiipp fetches: read from a file, all or nothing, and written as Shiipp accepts it. Pure.

Source: docs.aeoral.com, "Customer list format": an array at the root; `UserCode` or `user_code` is required, trimmed and
upper-cased by Shiipp; a placeholder is stored where a name is missing; Shiipp upserts and never deletes.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from receiver.errors import UnexpectedShape

_FIELDS = {"usercode": "user_code", "firstname": "first_name", "lastname": "last_name", "branch": "branch"}
_SPELLINGS = {"user_code": "UserCode", "first_name": "FirstName", "last_name": "LastName", "branch": "Branch"}
_MAX_LETTERS = 200
_MAX_ERRORS = 20


class Customer(NamedTuple):
    """One customer of the forwarder; `user_code` is trimmed and upper case, empty fields are left out when it is served."""

    user_code: str
    first_name: str = ""
    last_name: str = ""
    branch: str = ""

    def document(self) -> str:
        """Return the customer as JSON, as Shiipp reads it."""
        served = {_SPELLINGS[name]: value for name, value in self._asdict().items() if value}
        return orjson.dumps(served).decode()


def read_list(content: bytes, name: str) -> list[Customer]:
    """Read a CSV file with a header, or a JSON array; the ending of `name` tells which.

    Raises UnexpectedShape with the line (CSV) or the item (JSON) of everything that is wrong; nothing is taken then.
    """
    rows = _read_json(content) if name.lower().endswith(".json") else _read_csv(content)
    customers: dict[str, tuple[str, Customer]] = {}
    errors: list[str] = []
    for place, row in rows:
        try:
            customer = _read_customer(row)
        except ValueError as error:
            errors.append(f"{place}: {error}")
            continue
        if customer.user_code in customers:
            errors.append(f"{place}: user code {customer.user_code} stands on {customers[customer.user_code][0]} already")
        customers[customer.user_code] = place, customer
    if errors:
        more = f"\n… and {len(errors) - _MAX_ERRORS} more" if len(errors) > _MAX_ERRORS else ""
        raise UnexpectedShape("Nothing is taken from this file:\n" + "\n".join(errors[:_MAX_ERRORS]) + more)
    return [customer for _, customer in customers.values()]


def write_csv(customers: Iterable[Mapping[str, Any]]) -> str:
    """Return customers, as they are served, as CSV with a header."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(_SPELLINGS.values()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(customers)
    return out.getvalue()


def _read_csv(content: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    text = _decode(content)
    header = text.partition("\n")[0]
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=";" if header.count(";") > header.count(",") else ",", strict=True
    )
    if not any(_fold(name) == "usercode" for name in reader.fieldnames or ()):
        raise UnexpectedShape("line 1: expected a header with a column UserCode (or user_code).")
    try:
        for row in reader:
            yield f"line {reader.line_num}", row
    except csv.Error as error:
        raise UnexpectedShape(f"line {reader.line_num + 1}: {error}.") from None


def _read_json(content: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        rows = orjson.loads(_decode(content))
    except orjson.JSONDecodeError as error:
        raise UnexpectedShape(f"line {error.lineno}: {error.msg}.") from None
    if not isinstance(rows, list):
        raise UnexpectedShape("Expected a JSON array of customers at the root.")
    for number, row in enumerate(rows, 1):
        yield f"item {number}", row if isinstance(row, dict) else {}


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UnexpectedShape(f"line {line}: expected UTF-8.") from None


def _read_customer(row: Mapping[str, Any]) -> Customer:
    if None in row:
        raise ValueError("more fields than the header has columns; a text with a comma stands in quotes")
    values = {_FIELDS[_fold(name)]: value for name, value in row.items() if _fold(name) in _FIELDS and value is not None}
    found = {name: _read_field(name, value) for name, value in values.items()}
    code = found.pop("user_code", "").upper()
    if not code:
        raise ValueError("expected a user code (UserCode or user_code)")
    return Customer(code, **found)


def _read_field(name: str, value: object) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f"{name}: expected a text")  # noqa: TRY004  collected with the others
    text = str(value).replace("\N{NO-BREAK SPACE}", " ").strip()  # spreadsheets write those
    if len(text) > _MAX_LETTERS or not text.isprintable():
        raise ValueError(f"{name}: expected at most {_MAX_LETTERS} printable letters")
    return text


def _fold(name: str | None) -> str:
    return (name or "").strip().replace("_", "").replace(" ", "").casefold()
