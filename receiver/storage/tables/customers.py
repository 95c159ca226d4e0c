"""The tables of the customer list that Shiipp fetches."""

from sqlalchemy import BigInteger, Text
from sqlmodel import Field

from receiver.storage.tables.metadata import Table, key


class CustomerImportTable(Table, table=True):
    """The imported customer lists, of which the latest is served. `body_bytes` is the length of its JSON array."""

    __tablename__ = "customer_imports"

    id: str = key()
    imported_at: int = Field(sa_type=BigInteger)
    customers: int
    body_bytes: int


class CustomerTable(Table, table=True):
    """The customers of the served list and of some before it, which can be restored.

    So a download stays whole while the next list is imported.
    """

    __tablename__ = "customers"
    __table_args__ = ({"sqlite_with_rowid": False},)

    import_id: str = key()
    user_code: str = key()
    document: str = Field(sa_type=Text)
