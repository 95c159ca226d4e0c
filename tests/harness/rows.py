"""Questions to a database: the rows of a table that have certain values, and how many there are."""

from sqlalchemy import RowMapping, text

from receiver.storage.database import Database


def read_rows(url: str, query: str, **parameters: object) -> list[RowMapping]:
    """Return the rows of a query, with a reader's rights. For questions that `table_rows` and `count_rows` cannot ask."""
    database = Database(url)
    try:
        with database.read() as connection:
            return list(connection.execute(text(query), parameters).mappings())
    finally:
        database.close()


def table_rows(url: str, table: str, /, *columns: str, order: str = "", **equal: object) -> list[RowMapping]:
    """Return the rows of a table, or some of its columns; `order` names columns, `equal` the values that others must have."""
    ordered = f" ORDER BY {order}" if order else ""
    return read_rows(url, f"SELECT {', '.join(columns) or '*'} FROM {table}{_where(equal)}{ordered}", **equal)


def count_rows(url: str, table: str, /, **equal: object) -> int:
    """Return how many rows of a table have these values."""
    (row,) = read_rows(url, f"SELECT count(*) AS number FROM {table}{_where(equal)}", **equal)
    return int(row["number"])


def _where(equal: dict[str, object]) -> str:
    return " WHERE " + " AND ".join(f"{name} = :{name}" for name in equal) if equal else ""
