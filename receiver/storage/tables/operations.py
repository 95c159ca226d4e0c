"""The tables of operations: uses of tokens, counts, alarms, the audit log, sessions, processes, versions.

Times are microseconds since 1970, UTC.
"""

from sqlalchemy import BigInteger, Text
from sqlmodel import Field

from receiver.storage.tables.metadata import Table, key


class TokenUseTable(Table, table=True):
    """The last use of each named token, to the minute. It shows whether an old token can be removed."""

    __tablename__ = "token_uses"

    source: str = key()
    token: str = key()
    last_used_at: int = Field(sa_type=BigInteger)


class KnownTokenTable(Table, table=True):
    """The tokens that a service has or had in its settings. `token` is the name, `removed_at` is None while it has it.

    Of a token itself only the fingerprint is stored (`access.bearer.make_fingerprint`), and none of a short token.
    """

    __tablename__ = "known_tokens"

    source: str = key()
    fingerprint: str = key()
    token: str = Field(sa_type=Text)
    first_seen_at: int = Field(sa_type=BigInteger)
    removed_at: int | None = Field(None, sa_type=BigInteger)


MAX_WINDOW_MICROS = 24 * 3600 * 1_000_000
"""The longest time for which a setup window is open, whatever closing time is in its row."""


class SetupWindowTable(Table, table=True):
    """The setup window of each source, in which it may send from any address. The token is still required."""

    __tablename__ = "setup_windows"

    source: str = key()
    opened_at: int = Field(sa_type=BigInteger)
    closes_at: int = Field(sa_type=BigInteger)


class UnknownPathTable(Table, table=True):
    """POSTs to unknown paths, with the right path that each resembles. The row without a path counts those that resemble none."""

    __tablename__ = "unknown_paths"

    path: str = key()
    nearest: str = Field(sa_type=Text)
    requests: int = Field(sa_type=BigInteger)
    first_at: int = Field(sa_type=BigInteger)
    last_at: int = Field(sa_type=BigInteger)


class HourlyCountTable(Table, table=True):
    """Counts of deliveries and of their messages by outcome, for statistics and alarms (`counters`).

    A span is a minute or an hour, by its start. Each writing process has rows of its own (`writer`), so that none waits for
    another. `code` is empty for deliveries without an error. `unrecorded` counts the deliveries that have no row.
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
    """The alarms that are on (`ended_at` is None) or were on, with their last start and end. One row for each name and subject.

    `notice_due_at` is when the notice of the last start or end became due; None: it was sent.
    """

    __tablename__ = "alarms"

    name: str = key()
    subject: str = key()
    began_at: int = Field(sa_type=BigInteger)
    ended_at: int | None = Field(sa_type=BigInteger)
    message: str = Field(sa_type=Text)
    notice_due_at: int | None = Field(None, sa_type=BigInteger)


class AuditTable(Table, table=True):
    """The audit log of operators (`rows.AuditRow`)."""

    __tablename__ = "audit"

    id: str = key()
    done_at: int = Field(sa_type=BigInteger)
    actor: str = Field(sa_type=Text)
    address: str | None = Field(sa_type=Text)
    action: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    detail: str | None = Field(sa_type=Text)


class SessionTable(Table, table=True):
    """The sessions of the console (`rows.SessionRow`). A session ends when its row is removed."""

    __tablename__ = "sessions"

    digest: str = key()
    actor: str = Field(sa_type=Text)
    began_at: int = Field(sa_type=BigInteger)
    expires_at: int = Field(sa_type=BigInteger)


class ProcessTable(Table, table=True):
    """The running processes by role; each refreshes its rows (`processes.ProcessRow`).

    `targets` is a JSON list of names, `settings` a JSON object of fingerprints by the name of a setting.
    """

    __tablename__ = "processes"

    id: str = key()
    role: str = key()
    host: str = Field(sa_type=Text)
    process_id: int
    program: str = Field(sa_type=Text)
    started_at: int = Field(sa_type=BigInteger)
    seen_at: int = Field(sa_type=BigInteger)
    targets: str = Field(sa_type=Text)
    address: str | None = Field(None, sa_type=Text)
    settings: str | None = Field(None, sa_type=Text)


class TableVersionTable(Table, table=True):
    """The applied migrations, each with the version of the program that applied it.

    A program supports tables of `version` if its own newest migration is `compatible_from` or a later one.
    """

    __tablename__ = "table_versions"

    version: str = key()
    compatible_from: str = Field(sa_type=Text)
    program: str = Field(sa_type=Text)
    migrated_at: int = Field(sa_type=BigInteger)
