"""The layout, checked on the sources themselves: who may import whom, and how large things may grow.

A *room* is a package or a module directly under `receiver/`. Each may import what its row names.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent / "receiver"

MAY_IMPORT = {
    "errors": "",
    "clock": "",
    "logs": "",
    "processes": "errors logs",
    "domain": "clock errors",
    "handlers": "domain errors",
    "sources": "clock domain errors",
    "access": "clock domain errors processes sources",
    "project": "domain errors",
    "settings": "access domain errors project sources",
    "storage": "clock domain errors",
    "writer": "access clock domain errors logs processes sources storage",
    "maintenance": "access clock domain errors processes sources storage writer",
    "relay": "access clock domain errors handlers logs processes settings storage writer",
    "monitoring": "access clock domain errors logs processes relay sources storage writer",
    "web": "access clock domain errors maintenance monitoring processes relay settings sources storage writer",
    "service": "errors monitoring processes relay settings sources storage web writer",
    "testkit": "access errors",
    "cli": "access clock domain errors logs maintenance monitoring project relay service settings sources storage testkit web "
    "writer",
    "__main__": "cli processes",
}
"""What each room uses of the others: a row names only rows above it."""

ONLY_IN = {
    "sqlalchemy": "storage writer maintenance",
    "sqlmodel": "storage",
    "alembic": "storage",
    "psycopg": "storage",
    "sqlite3": "storage",
    "backports": "storage",
    "starlette": "access monitoring web service",
    "jinja2": "web",
    "markupsafe": "web",
    "uvicorn": "web service",
    "pydantic": "settings web",
    "dotenv": "project",
    "msgspec": "writer",
    "click": "cli",
    "rich": "cli",
    "standardwebhooks": "relay",
    "opentelemetry": "monitoring",
    "nats": "relay",
    "aiohttp": "testkit",
    "yarl": "testkit",
}

IMPORT_LATER = {
    "cli/_output.py",  # rich takes 40 ms, and a pipe does without
    "relay/assembly.py",  # NATS takes 9 MiB, which few services need; commands that list make no target
    "settings/values.py",  # urllib3: few settings are URLs
    "storage/database.py",  # psycopg takes 0.2 s and PostgreSQL's dialect 50 ms, and SQLite does without
    "storage/engines.py",  # the same
    "monitoring/traces.py",  # an extra that may not be installed
}
PURE = ("domain", "sources")
IMPURE = {"asyncio", "logging", "multiprocessing", "os", "pathlib", "socket", "structlog", "threading", "time", "urllib3"}

DIALECTS_KNOWN_BY = {
    f"storage/{name}.py"
    for name in ("additions", "database", "engines", "faults", "files", "lock", "postgresql", "psycopg_driver", "wal")
}
DIALECTS_KNOWN_BY |= {f"storage/{name}.py" for name in ("stepwise_backup", "snapshots", "database_copies")}  # of SQLite files
DIALECTS = ("sqlite", "postgres", "psycopg", "pragma")
DIALECT_NAMED = {  # besides: a library that logs, a default, and options of tables that each database takes or leaves
    "logs/setup.py": {"psycopg"},
    "settings/record.py": {"sqlite:///data/receiver.db"},
    "storage/tables": {"sqlite_with_rowid", "sqlite_where"},
    "storage/tables/ids.py": {"sqlite"},
    "storage/migrations/versions": {"sqlite", "sqlite_with_rowid", "sqlite_where", "postgresql_where", "postgresql"},
}

SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 40

TREES = {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}
WRITTEN = [path for path in TREES if "migrations" not in path.parts]


def room_of(path: Path) -> str:
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


def functions_of(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


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


def test_a_room_imports_exactly_what_its_row_names() -> None:
    used: dict[str, set[str]] = {room_of(path): set() for path in TREES if path.name != "__init__.py" or len(path.parts) > 1}
    for path in TREES:
        rooms = {room_of(NAMES[name]) for name in imported(path) if name in NAMES and name != "receiver"}
        used.get(room_of(path), set()).update(rooms - {room_of(path)})
    assert used == {room: set(row.split()) for room, row in MAY_IMPORT.items()}


def test_a_row_names_only_rows_above_it() -> None:
    rooms = list(MAY_IMPORT)
    upwards = [(room, other) for room in rooms for other in MAY_IMPORT[room].split() if other not in rooms[: rooms.index(room)]]
    assert upwards == []


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {name: {other for other in imported(path) if other in NAMES} for name, path in NAMES.items()}
    assert set(TopologicalSorter(graph).static_order()) == set(NAMES)


def test_a_library_is_imported_only_where_it_belongs() -> None:
    libraries = {(str(path), name.partition(".")[0]) for path in TREES for name in imported(path)}
    astray = {
        (path, library)
        for path, library in libraries
        if library in ONLY_IN and room_of(Path(path)) not in ONLY_IN[library].split()
    }
    assert astray == set()


def test_what_decides_touches_nothing_outside() -> None:
    libraries = {(str(path), name.partition(".")[0]) for path in TREES if room_of(path) in PURE for name in imported(path)}
    assert {(path, library) for path, library in libraries if library in IMPURE} == set()


def test_imports_stand_at_the_top_and_none_is_for_type_checkers_alone() -> None:
    inside = [
        f"{path}:{node.lineno}"
        for path, tree in TREES.items()
        if str(path) not in IMPORT_LATER
        for function in functions_of(tree)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    checked_only = [f"{path}:{line}" for path, tree in TREES.items() for line, word in words_of(tree) if word == "TYPE_CHECKING"]
    assert inside + checked_only == []


def test_no_module_has_a_meaningless_name() -> None:
    assert [str(path) for path in TREES if {part.removesuffix(".py").strip("_") for part in path.parts} & SAYS_NOTHING] == []


def test_no_class_name_is_used_twice() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_a_class_of_the_tests_is_named_like_none_that_it_could_be_taken_for() -> None:
    """Not like one of the package or of the harness. The programs `bench` and `faults` stand by themselves."""
    importable = {node.name for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("*.py"), key=lambda path: (path.parent.name != "harness", path)):
        if path.relative_to(TESTS).parts[0] in {"bench", "faults"}:
            continue
        names = re.findall(r"^class (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        for name in names:
            if name in importable:
                places[name].append(str(path.relative_to(TESTS)))
        if path.parent.name == "harness":
            importable.update(names)
    assert places == {}


def test_rows_of_several_columns_are_looked_up_by_a_query_and_not_by_a_list() -> None:
    """SQLite searches no index for a list of two rows or more (`statements.is_one_of`)."""
    found = {
        str(path)
        for path in WRITTEN
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Attribute)
        and node.attr == "in_"
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "tuple_"
    }
    assert found == {"storage/statements.py", "storage/dropping.py"}


def test_no_module_and_no_function_is_too_long() -> None:
    modules = {str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in WRITTEN}
    functions = {
        f"{path}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in WRITTEN
        for function in functions_of(TREES[path])
    }
    assert {name: length for name, length in modules.items() if length > MAX_MODULE_LINES} == {}
    assert {name: length for name, length in functions.items() if length > MAX_FUNCTION_LINES} == {}


def test_only_some_modules_know_which_database_it_is() -> None:
    named = {
        (str(path), line, word)
        for path, tree in TREES.items()
        if str(path) not in DIALECTS_KNOWN_BY
        for line, word in words_of(tree)
        if any(dialect in word.lower() for dialect in DIALECTS)
        and word not in DIALECT_NAMED.get(str(path), DIALECT_NAMED.get(str(path.parent), set()))
    }
    assert named == set()
