"""`receiver rebuild`, as an operator runs it."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.database_contents import contents, differing
from tests.harness.postgresql import Cluster
from tests.harness.rows import read_rows
from tests.harness.service import DEADLINE_SECONDS, environment, wait_until
from tests.harness.storage import WAITING, hold_up, make_tables
from tests.harness.store import opened

FAR_AHEAD = "9999-01-01T10:00:00"


def run(folder: Path, url: str, *arguments: str, code: int = 0, **given: str) -> str:
    done = run_command("rebuild", *arguments, cwd=folder, env=environment(url, **given))
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_rebuild_works_beside_a_running_service_and_reports_the_content(
    service: StartService, database_url: str, other_url: str, tmp_path: Path
) -> None:
    running = service(database_url)
    body = ship24.body(ship24.item("m", "t"), ship24.item("far", "t", [ship24.event(occurrence=FAR_AHEAD)]))
    assert running.post(body).outcomes() == ["applied", "quarantined"]
    assert running.post(b"{").status == 400
    shown = run(tmp_path, database_url, "--into", other_url)
    assert "has the same content." in shown
    assert [line.split() for line in shown.splitlines() if line.startswith("trackers")] == [["trackers", "1", "1", "0"]]
    assert list(tmp_path.glob("other.db-*")) == []  # no WAL: who moves the file has all of it
    rebuilt = service(other_url)
    assert rebuilt.post(body).outcomes() == ["duplicate", "duplicate"]


def test_only_an_empty_database_is_filled(sqlite_url: str, into: str, tmp_path: Path) -> None:
    for url in (sqlite_url, into):
        make_tables(url)
        with opened(url) as store:
            store.keep(ship24.single())
    before = contents(into)
    assert "is not empty (table bodies)" in run(tmp_path, sqlite_url, "--into", into, code=2)
    assert "this is the one to read from" in run(tmp_path, sqlite_url, "--into", sqlite_url, code=2)
    assert differing(before, contents(into)) == set()


def test_a_database_whose_tables_may_not_be_read_is_one_line(sqlite_url: str, own_cluster: Cluster, tmp_path: Path) -> None:
    make_tables(sqlite_url)
    own_cluster.create_database("into")
    for statement in ("CREATE ROLE app LOGIN", "CREATE TABLE messages (message_id text)"):
        own_cluster.execute(statement, "into")
    said = run(tmp_path, sqlite_url, "--into", f"postgresql://app@127.0.0.1:{own_cluster.port}/into", code=1)
    assert said.endswith("permission denied for table messages\n")
    assert said.count("\n") == 1
    own_cluster.execute("INSERT INTO messages VALUES ('of another program')", "into")
    own_cluster.execute("GRANT SELECT ON messages TO app", "into")
    said = run(tmp_path, sqlite_url, "--into", f"postgresql://app@127.0.0.1:{own_cluster.port}/into", code=2)
    assert "is not empty (table messages)" in said


def test_the_same_file_by_another_name_is_the_same(sqlite_url: str, tmp_path: Path) -> None:
    make_tables(sqlite_url)
    (tmp_path / "other.db").symlink_to(tmp_path / "receiver.db")
    assert "this is the one to read from" in run(tmp_path, sqlite_url, "--into", f"sqlite:///{tmp_path}/other.db", code=2)


def test_a_wrong_address_is_said_without_its_password(sqlite_url: str, tmp_path: Path) -> None:
    make_tables(sqlite_url)
    assert "--into" in run(tmp_path, sqlite_url, code=2)
    for url in ("mysql://me:planted@here/x", "planted", "postgresql://me:planted@127.0.0.1:1/x"):
        shown = run(tmp_path, sqlite_url, "--into", url, code=1 if url.startswith("postgresql") else 2)
        assert shown.startswith("receiver: ")
        assert "planted" not in shown


def test_there_has_to_be_something_to_rebuild_from(sqlite_url: str, tmp_path: Path) -> None:
    shown = run(tmp_path, sqlite_url, "--into", f"sqlite:///{tmp_path}/rebuilt.db", code=2)
    assert "Run `receiver migrate` first" in shown


def test_ctrl_c_leaves_a_database_of_which_is_said_that_it_is_not_whole(
    sqlite_url: str, postgresql_url: str, tmp_path: Path
) -> None:
    for url in (sqlite_url, postgresql_url):
        make_tables(url)
    with opened(sqlite_url) as store:
        store.keep(ship24.single())
    command = [sys.executable, "-m", "receiver", "rebuild", "--into", postgresql_url]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(sqlite_url), stderr=subprocess.PIPE, text=True) as running:
        with hold_up(postgresql_url):
            wait_until(lambda: read_rows(postgresql_url, WAITING), "it is about to write")
            running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=DEADLINE_SECONDS)
    assert running.returncode == 130
    assert "is incomplete. Empty it and start again." in told
    assert "is not empty" in run(tmp_path, sqlite_url, "--into", postgresql_url, code=2)
