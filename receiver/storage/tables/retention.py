"""The table of pruning: the progress of each kind, and the claim of the process that prunes."""

from sqlalchemy import BigInteger, Text
from sqlmodel import Field

from receiver.storage.tables.metadata import Table, key


class PruningTable(Table, table=True):
    """One row for each kind of prunable data.

    `reached` is the id up to which it was pruned (empty: never pruned). `claim` names the run that prunes now, until its lease
    ends at `leased_until`.
    """

    __tablename__ = "prunings"

    kind: str = key()
    claim: str | None = Field(sa_type=Text)
    leased_until: int = Field(sa_type=BigInteger)
    reached: str = Field(sa_type=Text)
