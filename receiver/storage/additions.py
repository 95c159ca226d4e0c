"""Additions to our tables that are not ours: triggers, constraints, columns. They may refuse or drop the rows of any message.

No migration makes any of them, so that a row that one of them may have refused is never blamed on its message.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, Boolean, Column, Connection, Integer, LargeBinary, text

from receiver.storage.tables.metadata import METADATA
from receiver.storage.version import read_version

_SHOWN = 3
_OF_MIGRATIONS = {"column", "index", "constraint", "foreign key", "table"}
_CHECK = re.compile(r"\bCHECK\s*\(", re.IGNORECASE)
_TYPES = ((BigInteger, "bigint"), (Integer, "integer"), (Boolean, "boolean"), (LargeBinary, "bytea"))  # the others are text

# Each row: table, kind, name; of a column also its type, and whether each insert must name it
_POSTGRESQL = text("""
WITH ours AS (SELECT name, to_regclass(name) AS id FROM unnest(CAST(:tables AS text[])) AS names (name))
SELECT ours.name, 'trigger' AS kind, tgname, NULL, false FROM ours JOIN pg_trigger ON tgrelid = ours.id WHERE NOT tgisinternal
UNION ALL SELECT ours.name, 'rule', rulename, NULL, false FROM ours JOIN pg_rewrite ON ev_class = ours.id
    WHERE rulename <> '_RETURN'
UNION ALL SELECT ours.name, 'policy', polname, NULL, false FROM ours JOIN pg_policy ON polrelid = ours.id
UNION ALL SELECT ours.name, 'constraint', conname, NULL, false
    FROM ours JOIN pg_constraint ON ours.id IN (conrelid, confrelid) WHERE contype IN ('c', 'f', 'x')
UNION ALL SELECT ours.name, 'index', relname, NULL, false FROM ours JOIN pg_index ON indrelid = ours.id
    JOIN pg_class ON pg_class.oid = indexrelid WHERE NOT indisprimary
        AND (indisunique OR indexprs IS NOT NULL OR indpred IS NOT NULL OR EXISTS (  -- of texts, which may be too long for it
            SELECT FROM pg_attribute WHERE attrelid = indexrelid AND attlen = -1))
UNION ALL SELECT ours.name, 'column', attname, format_type(atttypid, atttypmod), attnotnull AND NOT atthasdef
    FROM ours JOIN pg_attribute ON attrelid = ours.id WHERE attnum > 0 AND NOT attisdropped
""")

_SQLITE = text("""
SELECT tbl_name, type, name, sql, false FROM sqlite_master WHERE type IN ('trigger', 'table')
UNION ALL SELECT m.name, 'index', i.name, NULL, false FROM sqlite_master m, pragma_index_list(m.name) i
    WHERE m.type = 'table' AND i.origin <> 'pk'
        AND (i."unique" OR i.partial OR EXISTS (SELECT 1 FROM pragma_index_xinfo(i.name) WHERE cid = -2))  -- of an expression
UNION ALL SELECT m.name, 'foreign key', f."from", NULL, false FROM sqlite_master m, pragma_foreign_key_list(m.name) f
    WHERE m.type = 'table'
UNION ALL SELECT m.name, 'column', c.name, NULL, c."notnull" AND c.dflt_value IS NULL
    FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'
""")


class Addition(NamedTuple):
    """Something that somebody added to one of our tables, or a column that somebody changed."""

    table: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} of the table {self.table}"


def find_additions(connection: Connection) -> list[Addition]:
    """Return what our tables have that no migration made and that may refuse rows, sorted.

    A later version of the tables may have more columns, indexes and constraints.
    """
    ignored = _OF_MIGRATIONS if read_version(connection).is_later else ()
    if connection.dialect.name == "postgresql":
        rows = connection.execute(_POSTGRESQL, {"tables": list(METADATA.tables)}).all()
    else:
        rows = connection.execute(_SQLITE).all()
    ours = [row for row in rows if row[0] in METADATA.tables and row[1] not in ignored]
    return sorted({found for row in ours for found in _judge(*row)})


def explain_additions(additions: Sequence[Addition]) -> str:
    """Return sentences that name the additions and what to do about them."""
    shown = ", ".join(f"the {addition}" for addition in additions[:_SHOWN]) + (" …" if len(additions) > _SHOWN else "")
    return f"Not made by receiver: {shown}. Remove it; until then, deliveries may be answered 503."


def _judge(table: str, kind: str, name: str, detail: str | None, is_required: bool) -> Iterator[Addition]:  # noqa: FBT001  a row
    ours = METADATA.tables[table]
    if kind == "column":
        column = ours.c.get(name)
        if is_required and (column is None or column.nullable):
            yield Addition(table, "NOT NULL column", name)
        if column is not None and detail is not None and detail != _type_of(column):
            yield Addition(table, f"column of type {detail}", name)
    elif kind == "table":
        if _CHECK.search(detail or ""):
            yield Addition(table, "constraint", "CHECK")
    elif kind != "index" or name not in {index.name for index in ours.indexes}:
        yield Addition(table, kind, name)


def _type_of(column: Column[object]) -> str:
    return next((name for kind, name in _TYPES if isinstance(column.type, kind)), "text")
