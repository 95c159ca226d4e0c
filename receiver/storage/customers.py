"""The customer list in storage: imported as a whole, read in pages, searched."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, delete, exists, insert, or_, select

from receiver.clock import iso
from receiver.domain.customer_changes import ListDifference, compare_lists, matches
from receiver.domain.records import DOWNLOAD
from receiver.errors import NotFound
from receiver.storage.database import Database
from receiver.storage.queries.pages import ResultPage, is_storable, read_cursor, write_cursor
from receiver.storage.tables.customers import CustomerImportTable, CustomerTable
from receiver.storage.tables.ledger import DeliveryTable
from receiver.storage.tables.metadata import table_of

_PAGE = 1000

KEPT_LISTS = 5
"""The number of lists before the served one whose customers are kept, so that one of them can be restored."""


class CustomerList(NamedTuple):
    """An imported list. `body_bytes` is the length of its JSON array."""

    id: str
    imported_at: int
    customers: int
    body_bytes: int


def replace_customer_list(
    connection: Connection, database: Database, list_id: str, imported_at: int, rows: Sequence[tuple[str, str]]
) -> CustomerList:
    """Replace the served list by pairs of customer code and JSON. A repeated import with the same id changes nothing.

    The race: two imports run at the same time. They take turns, and the one that commits last is served. The served list is the
    one with the largest id. A wrong clock may have made a larger id than this one; such imports are removed.
    """
    customers, imports = table_of(CustomerTable), table_of(CustomerImportTable)
    database.lock_table(connection, imports)
    known = connection.execute(select(imports).where(imports.c.id == list_id)).first()
    if known is not None:
        return CustomerList(*known)
    kept = list(connection.execute(select(imports.c.id).order_by(imports.c.id.desc()).limit(KEPT_LISTS)).scalars())
    for start in range(0, len(rows), _PAGE):
        page = [
            {"import_id": list_id, "user_code": user_code, "document": document}
            for user_code, document in rows[start : start + _PAGE]
        ]
        connection.execute(insert(customers), page)
    body_bytes = 2 + sum(len(document.encode()) for _, document in rows) + max(0, len(rows) - 1)
    made = CustomerList(list_id, imported_at, len(rows), body_bytes)
    connection.execute(insert(imports).values(made._asdict()))
    connection.execute(delete(imports).where(imports.c.id > list_id))
    connection.execute(delete(customers).where(customers.c.import_id.not_in([list_id, *kept])))
    return made


def compare_with_served(
    connection: Connection, database: Database, list_id: str, rows: Sequence[tuple[str, str]]
) -> ListDifference:
    """Compare a list with the served one, and let no other import begin before the end of the transaction.

    A repeated import with the same id is compared with the list that it replaced.
    """
    customers, imports = table_of(CustomerTable), table_of(CustomerImportTable)
    database.lock_table(connection, imports)
    latest = select(imports.c.id).where(imports.c.id != list_id).order_by(imports.c.id.desc()).limit(1)
    served = select(customers.c.user_code, customers.c.document).where(customers.c.import_id == latest.scalar_subquery())
    return compare_lists(((row.user_code, row.document) for row in connection.execute(served)), rows)


def read_earlier_list(connection: Connection, database: Database, list_id: str, earlier: str | None) -> list[tuple[str, str]]:
    """Return the pairs of an earlier list; None: of the last one before the served one that has customers.

    No import begins before the end of the transaction. A repeated command gets the list with the id `list_id` that it has made.
    Raises NotFound.
    """
    customers, imports = table_of(CustomerTable), table_of(CustomerImportTable)
    database.lock_table(connection, imports)
    found = {one.id: one for one in _read_lists(connection)}
    if list_id in found:
        earlier = list_id
    elif earlier is None:
        earlier = next((one.id for one in [*found.values()][1:] if one.customers), None)
    if earlier is None:
        raise NotFound("There is no earlier customer list.")
    rows = select(customers.c.user_code, customers.c.document).where(customers.c.import_id == earlier)
    pairs = [(row.user_code, row.document) for row in connection.execute(rows.order_by(customers.c.user_code))]
    if earlier not in found or len(pairs) < found[earlier].customers:
        raise NotFound(f"There is no customer list {earlier} to restore. `receiver customers lists` shows those that are stored.")
    return pairs


def list_customer_lists(database: Database) -> list[dict[str, Any]]:
    """Return the served list and those before it that can be restored, newest first."""
    with database.read() as connection:
        found = _read_lists(connection)
    return [{"id": one.id, "imported_at": iso(one.imported_at), "customers": one.customers} for one in found]


def _read_lists(connection: Connection) -> list[CustomerList]:
    """Return the served list and those before it whose customers are stored, newest first. Version 0.1 kept two lists."""
    customers, imports = table_of(CustomerTable), table_of(CustomerImportTable)
    is_stored = or_(imports.c.customers == 0, exists().where(customers.c.import_id == imports.c.id))
    newest = select(imports).where(is_stored).order_by(imports.c.id.desc()).limit(KEPT_LISTS + 1)
    return [CustomerList(*row) for row in connection.execute(newest)]


def latest_customer_list(database: Database) -> CustomerList | None:
    """Return the latest list, or None if none was imported yet."""
    table = table_of(CustomerImportTable)
    with database.read() as connection:
        row = connection.execute(select(table).order_by(table.c.id.desc()).limit(1)).first()
    return None if row is None else CustomerList(*row)


def require_customer_list(database: Database) -> CustomerList:
    """Return the latest list. Raises NotFound if none was imported yet."""
    latest = latest_customer_list(database)
    if latest is None:
        raise NotFound("No customer list was imported yet. Run `receiver customers import FILE` first.")
    return latest


def read_customer_page(database: Database, list_id: str, after: str) -> list[tuple[str, str]]:
    """Return the next pairs of customer code and JSON after a code; none at the end."""
    table = table_of(CustomerTable)
    statement = (
        select(table.c.user_code, table.c.document)
        .where(table.c.import_id == list_id, table.c.user_code > after)
        .order_by(table.c.user_code)
        .limit(_PAGE)
    )
    with database.read() as connection:
        return [(row.user_code, row.document) for row in connection.execute(statement)]


def read_customers(database: Database, list_id: str) -> Iterator[dict[str, str]]:
    """Yield the customers of a list in Shiipp's format, in the order of their codes."""
    after = ""
    while page := read_customer_page(database, list_id, after):
        yield from (orjson.loads(document) for _, document in page)
        after = page[-1][0]


def find_customers(database: Database, list_id: str, codes: Collection[str]) -> list[dict[str, Any]]:
    """Return the customers of a list with exactly these codes, in Shiipp's format."""
    if not is_storable(*codes):
        return []
    table = table_of(CustomerTable)
    named = select(table.c.document).where(table.c.import_id == list_id, table.c.user_code.in_(codes)).order_by(table.c.user_code)
    with database.read() as connection:
        return [orjson.loads(document) for document in connection.execute(named).scalars()]


def search_customers(database: Database, list_id: str, term: str, limit: int, cursor: str | None) -> ResultPage:
    """Return customers of a list in Shiipp's format whose code or name has each word of a term, in the order of their codes.

    An empty term finds all. Raises UnexpectedShape for an invalid cursor.
    """
    (after,) = read_cursor(cursor, str) or ("",)
    found: list[dict[str, Any]] = []
    while page := read_customer_page(database, list_id, after):
        for _, document in page:
            customer = orjson.loads(document)
            if not matches(customer, term):
                continue
            if len(found) == limit:
                return ResultPage(found, write_cursor(found[-1]["UserCode"]))
            found.append(customer)
        after = page[-1][0]
    return ResultPage(found, None)


def last_syncs(database: Database, limit: int) -> list[dict[str, Any]]:
    """Return the last downloads of the list, newest first, each with its number of customers."""
    table = table_of(DeliveryTable)
    columns = [
        table.c[name] for name in ("id", "received_at", "status", "outcome", "code", "reason", "client", "token", "received")
    ]
    statement = (
        select(*columns)
        .where(table.c.source == "shiipp", table.c.kind == DOWNLOAD, table.c.method == "GET")
        .order_by(table.c.id.desc())
    )
    with database.read() as connection:
        return [dict(row) for row in connection.execute(statement.limit(limit)).mappings()]
