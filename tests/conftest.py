"""Fixtures for all tests: a database of each kind, and services that end with their test."""

import gc
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from itertools import count
from pathlib import Path
from typing import NoReturn

import pytest
from _pytest.nodeid import coerce_node_id
from hypothesis import HealthCheck, settings

from receiver.storage.queries import deliveries, message_list, packages, pages, quarantine, search
from tests.harness.archive import Archive, archive_at
from tests.harness.database_pool import close_pool, lend, take_back
from tests.harness.fork_server import READ_BY_COMMANDS
from tests.harness.pgbouncer import pooling
from tests.harness.postgresql import Cluster, find_binaries, folder_for_servers, running_cluster
from tests.harness.service import PATIENT, RUNNING, Service, serving
from tests.harness.storage import clear_rows

settings.register_profile(
    "receiver", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
settings.load_profile("receiver")

StartService = Callable[..., Service]
_numbers = count(1)
_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 4 * 1024**3
_SHOWN_CHARACTERS = 10_000


def pytest_configure() -> None:
    """Make places alike: files in memory, where there is room, Ctrl-C as usual, and no variable that changes a command."""
    if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES:
        tempfile.tempdir = str(_MEMORY)  # that syncs are asked for is tested; how long a disk takes is not
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; commands would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith(READ_BY_COMMANDS)]:
        del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test an id of its own: of those that share one, xdist runs one and does not count the others.

    The tests that schemathesis makes for the operations of one schema share theirs.
    """
    for item in items:
        if operation := getattr(item, "operation_label", None):
            item._id = coerce_node_id(f"{item.nodeid}[{operation}]")
    shared = [name for name, number in Counter(item.nodeid for item in items).items() if number > 1]
    if shared:
        raise pytest.UsageError(f"Several tests have the same id, so only one of each would run: {', '.join(shared)}.")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the garbage collector what is imported and collected: half of the time before the first test, a quarter after it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failed test what its services, and those that it shares, have logged last."""
    report = yield
    if report.failed:
        for service in (service for service in RUNNING if service.log.exists()):
            report.sections.append((f"log of the service on port {service.port}", service.logs()[-_SHOWN_CHARACTERS:]))
    return report


def lacking(reason: str) -> NoReturn:
    """Leave a test out, loudly; where everything has to be tested (CI=true) fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI tests everything, but {reason}")
    pytest.skip(f"NOT TESTED: {reason}")


def make_cluster() -> Iterator[Cluster]:
    """Give a running PostgreSQL server in a folder that its account can reach, and remove both."""
    if find_binaries() is None:
        lacking("PostgreSQL is not installed (Debian package: postgresql)")
    with folder_for_servers() as directory, running_cluster(directory / "cluster") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One PostgreSQL server for all tests; no test stops it."""
    for cluster in make_cluster():
        yield cluster
        close_pool(cluster)


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A PostgreSQL server that the test may stop and start."""
    yield from make_cluster()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path}/receiver.db"


@pytest.fixture(scope="session")
def front(cluster: Cluster) -> Iterator[str]:
    """The address of the server that all tests share, or of a pooler before it, if the tests run behind one."""
    if not os.environ.get("TEST_POOLER"):
        yield f"{cluster.host}:{cluster.port}"
    else:
        with pooling(cluster, pool_size=20) as port:
            yield f"127.0.0.1:{port}"


@pytest.fixture
def postgresql_url(cluster: Cluster, front: str) -> Iterator[str]:
    """An empty PostgreSQL database."""
    name = f"test_{next(_numbers)}"
    lend(cluster, name)
    yield f"postgresql://postgres@{front}/{name}"
    take_back(cluster, name)


@pytest.fixture
def direct_url(cluster: Cluster, postgresql_url: str) -> str:
    """The database of `postgresql_url` at its server, for what needs a session of its own: `LISTEN`, prepared statements."""
    return f"postgresql://postgres@{cluster.host}:{cluster.port}/{postgresql_url.rpartition('/')[2]}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def into(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind, beside the other one."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/another.db"
    else:
        cluster = request.getfixturevalue("cluster")
        name = f"another_{next(_numbers)}"
        yield lend(cluster, name)
        take_back(cluster, name)


@pytest.fixture
def other_url(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[str]:
    """An empty database of the other kind than `database_url`."""
    if not database_url.startswith("sqlite"):
        yield f"sqlite:///{tmp_path}/other.db"
    else:
        cluster = request.getfixturevalue("cluster")
        name = f"other_{next(_numbers)}"
        yield lend(cluster, name)
        take_back(cluster, name)


@pytest.fixture
def lexical_url(cluster: Cluster) -> Iterator[str]:
    """An empty PostgreSQL database that sorts `a B c`, as most installations do, not `B a c`."""
    if not cluster.sorts_by_language():
        pytest.skip("NOT TESTED: this PostgreSQL was built without ICU, so it sorts by code points only")
    name = f"lexical_{next(_numbers)}"
    yield lend(cluster, name, "en-US")
    take_back(cluster, name, "en-US")


@pytest.fixture(params=["sqlite", "lexical"])
def archive(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """A database whose rows the test sets, on SQLite and on PostgreSQL, which sorts by language here and not by code points.

    A page looks at few rows, so that few show its edges.
    """
    monkeypatch.setattr(pages, "_SEEN_ROWS", 3)
    monkeypatch.setattr(search, "_SEEN_TERMS", 3)
    monkeypatch.setattr(packages, "_SEEN_PACKAGES", 3)
    monkeypatch.setattr(deliveries, "_MAX_CARRIERS", 3)
    monkeypatch.setattr(message_list, "_SEEN_ROWS", 3)
    monkeypatch.setattr(message_list, "_MAX_BROUGHT_IN", 2)
    monkeypatch.setattr(quarantine, "_SEARCHED_ROWS", 3)
    monkeypatch.setattr(message_list, "_MAX_COPIES", 3)
    with archive_at(request.getfixturevalue(f"{request.param}_url")) as opened:
        yield opened


@pytest.fixture
def service(tmp_path: Path) -> Iterator[StartService]:
    """Start services: `service(url, setting="value")`. The tables are made first; all processes end with the test.

    A commit may take as long as a busy machine needs, unless a test says how long.
    """
    with ExitStack() as stack:

        def start(url: str, prefix: Sequence[str] = (), standard_error: str = "", **settings: str) -> Service:
            directory = tmp_path / f"service-{next(_numbers)}"
            return stack.enter_context(serving(directory, url, prefix, standard_error, **PATIENT | settings))

        yield start


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Give a service on SQLite that all tests of a module share, with an empty database: `shared_service(setting="value")`.

    For tests that do not stop the service and look at nothing that it keeps in memory: logs, metrics, statistics, limits.
    """
    with ExitStack() as stack:

        @cache
        def start(**settings: str) -> Service:
            directory = tmp_path_factory.mktemp("shared")
            return stack.enter_context(serving(directory, f"sqlite:///{directory}/receiver.db", **PATIENT | settings))

        def start_empty(**settings: str) -> Service:
            started = start(**settings)
            clear_rows(started.database_url)
            return started

        yield start_empty
