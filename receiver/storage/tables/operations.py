"""The tables of how the service is run: who used which token, how much came, what is wrong, who changed what.

Moments are microseconds since 1970, UTC.
"""

from sqlalchemy import BigInteger, Text
from sqlmodel import Field

from receiver.storage.tables.metadata import Table, key


class TokenUseTable(Table, table=True):
    """When each named token last let a call in, to the minute: an old one can be seen to be idle before it is retired."""

    __tablename__ = "token_uses"

    source: str = key()
    token: str = key()
    last_used_at: int = Field(sa_type=BigInteger)


MAX_WINDOW_MICROS = 24 * 3600 * 1_000_000
"""How long a setup window counts, whatever closing time stands in its row."""


class SetupWindowTable(Table, table=True):
    """Until when a source may call from any address, token still required."""

    __tablename__ = "setup_windows"

    source: str = key()
    opened_at: int = Field(sa_type=BigInteger)
    closes_at: int = Field(sa_type=BigInteger)


class HourlyCountTable(Table, table=True):
    """How many calls came in a span of time, and what became of their messages: what statistics and alarms read.

    A span is a minute or an hour, by its beginning. Each writing process counts in rows of its own (`writer`), so that none waits
    for another. `code` is empty where there was no error. `unrecorded` are calls beyond what is kept one by one.
    """

    __tablename__ = "tallies"
    __table_args__ = ({"sqlite_with_rowid": False},)

    span_seconds: int = Field(primary_key=True)
    begins_at: int = Field(primary_key=True, sa_type=BigInteger)
    writer: str = key()
    source: str = key()
    outcome: str = key()
    code: str = key()
    calls: int = Field(sa_type=BigInteger)
    unrecorded: int = Field(sa_type=BigInteger)
    received: int = Field(sa_type=BigInteger)
    applied: int = Field(sa_type=BigInteger)
    stale: int = Field(sa_type=BigInteger)
    duplicate: int = Field(sa_type=BigInteger)
    recorded: int = Field(sa_type=BigInteger)
    quarantined: int = Field(sa_type=BigInteger)


class AlarmTable(Table, table=True):
    """The alarms that are on (`ended_at` is None), and when those that are not were last. One row for each thing to watch.

    `notice_due_at` is since when a notice of its last start or end waits to be sent; None: there is none.
    """

    __tablename__ = "alarms"

    name: str = key()
    subject: str = key()
    began_at: int = Field(sa_type=BigInteger)
    ended_at: int | None = Field(sa_type=BigInteger)
    message: str = Field(sa_type=Text)
    notice_due_at: int | None = Field(None, sa_type=BigInteger)


class AuditTable(Table, table=True):
    """What operators changed: `actor` is the name of an ops token or `command line`, `address` where they were."""

    __tablename__ = "audit"

    id: str = key()
    done_at: int = Field(sa_type=BigInteger)
    actor: str = Field(sa_type=Text)
    address: str | None = Field(sa_type=Text)
    action: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    detail: str | None = Field(sa_type=Text)


class SessionTable(Table, table=True):
    """Who is signed in to the console: `digest` is that of the session's id, `actor` the name of its ops token.

    To end a session is to remove its row.
    """

    __tablename__ = "sessions"

    digest: str = key()
    actor: str = Field(sa_type=Text)
    began_at: int = Field(sa_type=BigInteger)
    expires_at: int = Field(sa_type=BigInteger)


class ProcessTable(Table, table=True):
    """The processes that run, by role: each refreshes its rows (`rows.ProcessRow`). `targets` is a JSON list of names."""

    __tablename__ = "processes"

    id: str = key()
    role: str = key()
    host: str = Field(sa_type=Text)
    process_id: int
    program: str = Field(sa_type=Text)
    started_at: int = Field(sa_type=BigInteger)
    seen_at: int = Field(sa_type=BigInteger)
    targets: str = Field(sa_type=Text)


class TableVersionTable(Table, table=True):
    """The migrations that were applied since this is recorded, each with the version of the program that applied it.

    A program works on tables of `version` if its own newest migration is `compatible_from` or a later one.
    """

    __tablename__ = "table_versions"

    version: str = key()
    compatible_from: str = Field(sa_type=Text)
    program: str = Field(sa_type=Text)
    migrated_at: int = Field(sa_type=BigInteger)
