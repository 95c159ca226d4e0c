"""Databases of a PostgreSQL server that tests use one after the other: to make and drop one costs ten times as much.

A database waits under another name for the next test: one without tables as `empty_…`, one with the tables of this version and
without rows as `ready_…`. One with anything else about it is dropped.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from urllib.parse import urlsplit

import psycopg
from psycopg import Connection, OperationalError
from psycopg.errors import ObjectInUse

from tests.harness.postgresql import Cluster

KEPT_ROWS = frozenset({"alembic_version", "table_versions"})
"""Tables whose rows the migrations made."""

_UTF8 = 6
_PLAIN = "plain"  # sorts by code points
_numbers = count(1)
_wanted: Counter[tuple[str, str]] = Counter()
_shapes: dict[tuple[int, str], str] = {}
_servers: dict[int, Connection] = {}  # by port, connected to the database `postgres`

_LOCALE = "coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')"  # by the server's version
_KIND = f"CASE datlocprovider WHEN 'i' THEN {_LOCALE} WHEN 'c' THEN CASE datcollate WHEN 'C' THEN '{_PLAIN}' END END"
_PUBLIC = "'public'::regnamespace"
_MADE = "16384"  # what the server has from the beginning has smaller ids; a copy of a database has the ids of its template
_SHAPE = f"""
SELECT md5(string_agg(part, '|' ORDER BY part)) FROM (
    SELECT concat_ws(',', 'table', oid, relname, relkind, relowner, relacl, reloptions, relnatts, relchecks, relhastriggers) part
    FROM pg_class WHERE relnamespace = {_PUBLIC}
    UNION ALL SELECT concat_ws(',', 'column', attrelid, attname, atttypid, attnotnull, attisdropped, attacl) FROM pg_attribute
    WHERE attrelid >= {_MADE} AND attnum > 0
    UNION ALL SELECT concat_ws(',', 'default', adrelid, adnum, adbin) FROM pg_attrdef
    UNION ALL SELECT concat_ws(',', 'constraint', oid, conname, convalidated) FROM pg_constraint WHERE connamespace = {_PUBLIC}
    UNION ALL SELECT concat_ws(',', 'index', indexrelid, indisvalid, indkey) FROM pg_index WHERE indrelid >= {_MADE}
    UNION ALL SELECT concat_ws(',', 'trigger', tgrelid, tgname, tgenabled) FROM pg_trigger
    UNION ALL SELECT concat_ws(',', 'function', oid, proname, md5(prosrc)) FROM pg_proc WHERE pronamespace = {_PUBLIC}
    UNION ALL SELECT concat_ws(',', 'schema', nspname, nspowner, nspacl) FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
    UNION ALL SELECT concat_ws(',', 'extension', extname) FROM pg_extension
    UNION ALL SELECT concat_ws(',', 'statistics', starelid, staattnum) FROM pg_statistic WHERE starelid >= {_MADE}
    UNION ALL SELECT concat_ws(',', 'database', datdba, datacl, setconfig) FROM pg_database
    LEFT JOIN pg_db_role_setting ON setdatabase = pg_database.oid WHERE datname = current_database()
) parts
"""


def lend(cluster: Cluster, name: str, icu_locale: str | None = None) -> str:
    """Return the URL of an empty database. It sorts text by code points, or as people of `icu_locale` do."""
    kind = icu_locale or _PLAIN
    url = f"postgresql://postgres@{cluster.host}:{cluster.port}/{name}"
    if cluster.port not in _servers:
        _servers[cluster.port] = _connect(url, "postgres")
    if not _rename_waiting(_servers[cluster.port], f"empty_{kind}", name):
        cluster.create_database(name, icu_locale)
    if (cluster.port, kind) not in _shapes:
        with _connect(url) as database:
            _shapes[cluster.port, kind] = _shape_of(database)
    return url


def give_tables(url: str, migrate: Callable[[str], None]) -> bool:
    """Replace an empty database by one with tables; return whether it is done.

    A server that wants tables a second time gets such a database to copy, for each way of sorting; most have one from the
    beginning. One with a standby gets none.
    """
    if "," in urlsplit(url).netloc:
        return False
    with psycopg.connect(url, target_session_attrs="read-write") as asked:  # of several servers the primary
        shown = asked.execute("SHOW port").fetchone()
        if asked.info.parameter_status("is_superuser") != "on" or shown != (str(asked.info.port),):  # a pooler holds sessions
            return False
        row = asked.execute(
            f"SELECT datname, current_setting('data_directory'), {_KIND}, encoding, "
            "(SELECT count(*) FROM pg_tables WHERE schemaname = 'public') FROM pg_database d WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    name, folder, kind, encoding, tables = row
    if tables or kind is None or encoding != _UTF8:
        return False
    template = f"tables_{kind}"
    with _administered(url) as server:
        has_template = server.execute("SELECT FROM pg_database WHERE datname = %s", [template]).rowcount
        _wanted[folder, kind] += 1
        if _wanted[folder, kind] == 1 and not has_template:
            return False
        waiting = _find_waiting(server, f"ready_{kind}")
        if waiting is not None:
            _rename(server, name, f"empty_{kind}_{next(_numbers)}")
            _rename(server, waiting, name)
            return True
        if not has_template:
            server.execute(f'CREATE DATABASE "{template}" TEMPLATE "{name}"')
            migrate(urlsplit(url)._replace(path=f"/{template}").geturl())
        server.execute(f'DROP DATABASE "{name}"')
        server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return True


def take_back(cluster: Cluster, name: str, icu_locale: str | None = None) -> None:
    """Let a database wait for the next test, or drop it."""
    kind = icu_locale or _PLAIN
    url = f"postgresql://postgres@{cluster.host}:{cluster.port}/{name}"
    with _administered(url) as server:
        server.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", [name])
        with suppress(OperationalError, ObjectInUse):  # it is gone, or takes no connections, or somebody connects again and again
            state = _clear(url, kind)
            if state is not None:
                _rename(server, name, f"{state}_{kind}_{next(_numbers)}")
                return
        server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def close_pool(cluster: Cluster) -> None:
    """Close the connection to a server that lent databases."""
    if cluster.port in _servers:
        _servers.pop(cluster.port).close()


def _clear(url: str, kind: str) -> str | None:
    """Delete all rows of a test; return how the database waits, or None if it cannot."""
    port = urlsplit(url).port or 0
    template = f"tables_{kind}"
    with _connect(url) as database:
        shape = _shape_of(database)
        if shape == _shapes[port, kind]:
            return "empty"
        if (port, template) not in _shapes:
            with _connect(url, template) as copied:
                _shapes[port, template] = _shape_of(copied)
        if shape != _shapes[port, template]:
            return None
        names = [name for (name,) in database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        asked = " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})" for name in set(names) - KEPT_ROWS)
        filled = [name for (name,) in database.execute(asked)]
        if filled:
            database.execute(f"TRUNCATE {', '.join(filled)}")
        for (sequence,) in database.execute("SELECT sequencename FROM pg_sequences WHERE last_value IS NOT NULL").fetchall():
            database.execute(f"ALTER SEQUENCE {sequence} RESTART")
    return "ready"


def _shape_of(database: Connection) -> str:
    """Return a digest of everything about a database but the rows of tests. Copies of one database have the same."""
    (shape,) = database.execute(_SHAPE).fetchall()[0]
    (tables,) = database.execute("SELECT count(*) FROM pg_tables WHERE tablename = ANY(%s)", [[*KEPT_ROWS]]).fetchall()[0]
    if tables != len(KEPT_ROWS):
        return str(shape)
    rows = [row for name in sorted(KEPT_ROWS) for row in database.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()]
    return f"{shape} {rows}"


@contextmanager
def _administered(url: str) -> Iterator[Connection]:
    """Give a connection to the server, where databases are renamed: the one that is open, if the server lends databases."""
    port = urlsplit(url).port or 0
    if port in _servers:
        yield _servers[port]
    else:
        with _connect(url, "postgres") as server:
            yield server


def _connect(url: str, name: str | None = None) -> Connection:
    """Connect to a database, or to another one of its server."""
    dbname = name or urlsplit(url).path.removeprefix("/")
    return psycopg.connect(url, autocommit=True, target_session_attrs="read-write", dbname=dbname)


def _find_waiting(server: Connection, prefix: str) -> str | None:
    found = server.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s) LIMIT 1", [f"{prefix}_"]).fetchone()
    return None if found is None else str(found[0])


def _rename_waiting(server: Connection, prefix: str, name: str) -> bool:
    waiting = _find_waiting(server, prefix)
    if waiting is not None:
        _rename(server, waiting, name)
    return waiting is not None


def _rename(server: Connection, name: str, new_name: str) -> None:
    server.execute(f'ALTER DATABASE "{name}" RENAME TO "{new_name}"')
