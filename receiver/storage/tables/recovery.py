"""The tables of recovery: when the service ran, and what reconciliations found. Times are microseconds since 1970, UTC."""

from sqlalchemy import BigInteger, Index, Text
from sqlmodel import Field

from receiver.storage.tables.ids import IdText
from receiver.storage.tables.metadata import Table, key


class ReconciliationTable(Table, table=True):
    """The last reconciliations, complete or not (`rows.ReconciliationRow`)."""

    __tablename__ = "reconciliations"
    __table_args__ = (Index(None, "began_at"),)

    id: str = key()
    source: str = Field(sa_type=Text)
    actor: str = Field(sa_type=Text)
    began_at: int = Field(sa_type=BigInteger)
    updated_at: int = Field(sa_type=BigInteger)
    ended_at: int | None = Field(sa_type=BigInteger)
    problem: str | None = Field(sa_type=Text)
    request: str = Field(sa_type=Text)
    position: str = Field(sa_type=Text)
    report: str = Field(sa_type=Text)


class ServiceSpanTable(Table, table=True):
    """The time in which each receiver ran, one row for each start (`processes.ProcessRow.id`). `seen_at` is its last report."""

    __tablename__ = "service_spans"
    __table_args__ = (Index(None, "seen_at"),)

    id: str = key()
    began_at: int = Field(sa_type=BigInteger)
    seen_at: int = Field(sa_type=BigInteger)


class LookupTable(Table, table=True):
    """The last time that a silent tracker was looked up at its vendor. `is_tracked`: the vendor still tracks it."""

    __tablename__ = "lookups"
    __table_args__ = (Index(None, "looked_up_at"),)

    source: str = key()
    tracker_id: str = key(IdText)
    looked_up_at: int = Field(sa_type=BigInteger)
    is_tracked: bool
