"""Who may import whom, and how large things may grow, checked on the sources themselves.

A *unit* is a module or a package directly under `receiver/`. Each may import what its row names, and a row names only rows above
it.
"""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "receiver"

MAY_IMPORT = {
    "errors": "",
    "clock": "",
    "trimming": "",
    "storable": "",
    "files": "errors",
    "occurrence": "clock",
    "spreadsheets": "errors trimming",
    "customers": "errors spreadsheets trimming",
    "addresses": "",
    "log_lines": "",
    "outage": "",
    "log_limits": "",
    "logs": "log_limits log_lines",
    "first_process": "",
    "stopping": "logs",
    "records": "errors",
    "rows": "",
    "processes": "rows",
    "changes": "clock",
    "targets": "changes",
    "handlers": "changes errors",
    "gate": "addresses errors",
    "probe": "gate",
    "alarms": "clock processes",
    "states": "changes occurrence records rows",
    "timelines": "occurrence rows",
    "revisions": "occurrence records rows states timelines",
    "identities": "records rows",
    "decide": "clock identities occurrence records revisions rows states timelines",
    "answers": "errors records storable",
    "sources": "clock errors occurrence records storable trimming",
    "retention": "",
    "settings": "addresses alarms errors files gate retention sources targets trimming",
    "codings": "errors",
    "intake": "codings errors records sources",
    "forgetting": "errors records sources",
    "storage": "answers changes clock decide errors forgetting identities occurrence processes records retention rows "
    "states storable timelines",
    "conformance": "gate",
    "relay": "addresses changes clock errors gate handlers logs outage processes rows settings stopping storable storage targets",
    "channel": "records",
    "writer": "answers changes channel clock errors logs outage records retention storage",
    "story": "errors records sources storage",
    "web": "addresses alarms answers channel clock codings customers errors forgetting gate intake logs occurrence outage "
    "probe processes records relay retention rows settings sources stopping storable storage story trimming",
    "service": "intake relay errors logs settings stopping storage web writer",
    "simulation": "errors",
    "cli": "addresses clock conformance customers errors files forgetting gate intake logs processes records relay retention "
    "rows service probe settings simulation sources spreadsheets storage story trimming web",
    "__main__": "cli first_process",
}

ONLY_IN = {
    "sqlalchemy": "storage",
    "sqlmodel": "storage",
    "alembic": "storage",
    "psycopg": "storage",
    "sqlite3": "storage",
    "starlette": "web service",
    "jinja2": "web",
    "markupsafe": "web",
    "uvicorn": "web service",
    "pydantic": "settings web",
    "pydantic_settings": "settings",
    "dotenv": "settings",
    "click": "cli",
    "rich": "cli",
    "standardwebhooks": "relay",
    "nats": "relay",
}

PURE = {
    *("errors", "records", "rows", "occurrence", "addresses", "gate", "alarms", "decide", "answers", "forgetting", "retention"),
    *("sources", "codings", "intake", "changes", "targets", "trimming", "storable", "probe", "outage"),
    *("states", "timelines", "revisions", "identities", "processes"),
}
IMPURE = {"asyncio", "logging", "multiprocessing", "os", "pathlib", "socket", "structlog", "threading", "time", "urllib3"}

DIALECTS_KNOWN_BY = {f"storage/{name}.py" for name in ("database", "engines", "faults", "files", "lock", "postgresql", "wal")}
DIALECTS = ("sqlite", "postgres", "psycopg", "pragma")
DIALECT_NAMED = {  # besides storage/database.py: a default, and options of tables that each database takes or leaves
    "settings/record.py": {"sqlite:///data/receiver.db"},
    "storage/operations.py": {"sqlite_with_rowid"},
    "storage/dispatches.py": {"sqlite_with_rowid", "sqlite_where", "postgresql_where"},
    "storage/tables.py": {"sqlite_with_rowid", "sqlite_where", "postgresql_where"},
    "storage/migrations/versions": {"sqlite", "sqlite_with_rowid", "sqlite_where", "postgresql_where", "postgresql"},
}

SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 40

TREES = {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}
WRITTEN = [path for path in TREES if "migrations" not in path.parts]
every_module = pytest.mark.parametrize("path", list(TREES), ids=str)
every_written_module = pytest.mark.parametrize("path", WRITTEN, ids=str)


def unit_of(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    """Return a module's dotted name."""
    return ".".join(["receiver", *path.with_suffix("").parts]).removesuffix(".__init__")


NAMES = {name_of(path): path for path in TREES}


def imported(path: Path) -> Iterator[str]:
    """Give the dotted names of what a module imports: submodules where they are meant, packages where a name of theirs is."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: expected the full name of the module"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in NAMES else str(node.module) for name in names)


def imported_units(path: Path) -> set[str]:
    """Return the units that a module imports, other than its own."""
    found = {unit_of(NAMES[name]) for name in imported(path) if name in NAMES and name != "receiver"}
    return found - {unit_of(path)}


def test_a_row_of_the_table_names_only_rows_above_it() -> None:
    rows = list(MAY_IMPORT)
    upwards = {unit: set(MAY_IMPORT[unit].split()) - set(rows[:place]) for place, unit in enumerate(rows)}
    assert {unit: names for unit, names in upwards.items() if names} == {}


def test_the_table_names_every_unit_and_nothing_else() -> None:
    assert {unit_of(path) for path in TREES} - {"__init__"} == set(MAY_IMPORT)


@every_module
def test_a_module_imports_only_what_its_row_names(path: Path) -> None:
    assert imported_units(path) - set(MAY_IMPORT.get(unit_of(path), "").split()) == set()


@every_module
def test_a_library_is_imported_only_where_it_belongs(path: Path) -> None:
    libraries = {name.partition(".")[0] for name in imported(path)} & ONLY_IN.keys()
    assert {library for library in libraries if unit_of(path) not in ONLY_IN[library].split()} == set()


@pytest.mark.parametrize("path", [path for path in WRITTEN if unit_of(path) in PURE], ids=str)
def test_what_decides_touches_nothing_outside(path: Path) -> None:
    assert {name.partition(".")[0] for name in imported(path)} & IMPURE == set()


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {name: {other for other in imported(path) if other in NAMES} for name, path in NAMES.items()}
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) == set(NAMES)


@every_module
def test_imports_stand_at_the_top(path: Path) -> None:
    inside = [
        node.lineno
        for function in ast.walk(TREES[path])
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inside == []


@every_module
def test_no_import_is_for_type_checkers_alone(path: Path) -> None:
    assert "TYPE_CHECKING" not in {word for _, word in words_of(TREES[path])}


@every_module
def test_a_module_has_a_name_that_says_something(path: Path) -> None:
    assert {part.removesuffix(".py").strip("_") for part in path.parts} & SAYS_NOTHING == set()


@every_written_module
def test_a_module_is_not_too_long(path: Path) -> None:
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= MAX_MODULE_LINES


@every_written_module
def test_a_function_is_not_too_long(path: Path) -> None:
    lengths = {
        f"{node.name}:{node.lineno}": (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES} == {}


def words_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Give the names, and the texts of one word, that a module uses, with their lines; prose and comments do not count."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias):
            yield node.lineno, node.name
        elif isinstance(node, ast.keyword):
            yield node.lineno, node.arg or ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value.split()) == 1:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", [path for path in TREES if str(path) not in DIALECTS_KNOWN_BY], ids=str)
def test_only_those_modules_know_which_database_it_is(path: Path) -> None:
    allowed = DIALECT_NAMED.get(str(path)) or DIALECT_NAMED.get(str(path.parent), set())
    named = {(line, word) for line, word in words_of(TREES[path]) if any(dialect in word.lower() for dialect in DIALECTS)}
    assert {(line, word) for line, word in named if word not in allowed} == set()
