"""The SQLite file under a running service: removed, replaced, cut short, opened by another name. Nothing answered is lost."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import StartService, lacking
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.fork_server import BASE
from tests.harness.rows import table_rows
from tests.harness.service import DEADLINE_SECONDS, PATIENT, Service, environment, serving, start_command, wait_until
from tests.harness.storage import make_tables

FILES = ("", "-wal", "-shm")


def all_of(file: Path) -> list[Path]:
    return [Path(f"{file}{end}") for end in FILES]


def kept(url: str) -> set[str]:
    return {row["message_id"] for row in table_rows(url, "messages", "message_id")}


def post(running: Service, name: str) -> int:
    return running.post(ship24.single(name)).status


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of the database, which is no other file's."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def running(service: StartService, data: Path) -> Service:
    started = service(f"sqlite:///{data}/receiver.db")
    assert post(started, "before") == 200
    return started


def remove(file: Path) -> None:
    file.unlink()


def move_away(file: Path) -> None:
    file.rename(file.with_name("moved.db"))


def remove_all(file: Path) -> None:
    for one in all_of(file):
        one.unlink()


def replace_folder(file: Path) -> None:
    file.parent.rename(file.parent.with_name("old"))
    shutil.copytree(file.parent.with_name("old"), file.parent)
    remove_all(file)


def cut_short(file: Path) -> None:
    os.truncate(file, 4096)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def replace_by_an_empty_file(file: Path) -> None:
    file.unlink()
    file.touch()


def replace_by_text(file: Path) -> None:
    file.with_name("text").write_text("this is no database", encoding="ascii")
    file.with_name("text").replace(file)


def replace_by_another_database(file: Path) -> None:
    with sqlite3.connect(file.with_name("another.db")) as another:
        another.execute("CREATE TABLE notes (text)")
    another.close()
    file.with_name("another.db").replace(file)


@pytest.mark.parametrize(
    "harm",
    [
        *(remove, move_away, remove_all, replace_folder, cut_short, empty),
        *(replace_by_an_empty_file, replace_by_text, replace_by_another_database),
    ],
    ids=lambda harm: harm.__name__,
)
def test_nothing_is_answered_2xx_once_the_file_is_not_there(running: Service, data: Path, harm: Callable[[Path], None]) -> None:
    harm(data / "receiver.db")
    assert {post(running, f"after-{number}") for number in range(20)} == {503}
    assert running.get("/readyz").status == 503
    assert running.get("/healthz").status == 200


def test_a_file_that_is_put_back_is_used_again_and_has_all_that_was_answered(running: Service, data: Path) -> None:
    file = data / "receiver.db"
    file.rename(data / "away.db")
    assert post(running, "refused") == 503
    (data / "away.db").rename(file)
    wait_until(lambda: post(running, "after") == 200, "calls are kept again")
    wait_until(lambda: running.get("/readyz").status == 200, "the service is ready")
    assert running.stop() == 0
    assert {"before", "after"} <= kept(running.database_url)


def test_a_lost_file_is_one_line_in_the_log_and_one_more_when_it_is_back(running: Service, data: Path) -> None:
    file = data / "receiver.db"
    before = running.logs()
    file.rename(data / "away.db")
    assert {post(running, f"refused-{number}") for number in range(30)} == {503}
    wait_until(lambda: "setup_windows_unknown" in running.logs(), "readers have noticed")
    (data / "away.db").rename(file)
    wait_until(lambda: post(running, "after") == 200, "calls are kept again")
    wait_until(lambda: "work_resumed" in running.logs(), "readers have noticed")
    lines = [json.loads(line) for line in running.logs().removeprefix(before).splitlines()]
    (fault,) = [line for line in lines if line["event"] == "storage_unavailable"]
    assert "receiver.db is gone" in fault["cause"]
    events = [line["event"] for line in lines]
    assert [events.count(name) for name in ("storage_recovered", "setup_windows_unknown", "work_resumed")] == [1, 1, 1]


def test_another_database_of_this_version_at_the_path_is_opened_and_read(running: Service, data: Path) -> None:
    file = data / "receiver.db"
    remove_all(file)
    assert post(running, "refused") == 503
    make_tables(f"sqlite:///{data}/new.db")
    (data / "new.db").rename(file)
    wait_until(lambda: post(running, "after") == 200, "calls are kept in the new file")
    assert running.get("/readyz").status == 200
    assert kept(running.database_url) >= {"after"}
    assert running.stop() == 0
    assert "before" not in kept(running.database_url)
    assert "after" in kept(running.database_url)


@pytest.mark.parametrize("ends", [("-wal",), ("-shm",), ("-wal", "-shm")], ids=" and ".join)
def test_a_write_ahead_log_that_is_removed_takes_nothing_with_it(running: Service, data: Path, ends: tuple[str, ...]) -> None:
    for end in ends:
        (data / f"receiver.db{end}").unlink()
    answered = ["before"]
    for number in range(20):
        if post(running, f"after-{number}") == 200:
            answered.append(f"after-{number}")
    assert len(answered) > 10
    running.kill()
    assert set(answered) - kept(running.database_url) == set()


def test_a_symbolic_link_to_another_file_counts_as_another_file(service: StartService, data: Path) -> None:
    for name in ("one", "two"):
        make_tables(f"sqlite:///{data}/{name}.db")
    link = data / "receiver.db"
    link.symlink_to("one.db")
    running = service(f"sqlite:///{link}")
    assert post(running, "in-one") == 200
    link.unlink()
    link.symlink_to("two.db")
    wait_until(lambda: post(running, "in-two") == 200, "calls are kept in the other file")
    assert running.stop() == 0
    assert kept(f"sqlite:///{data}/two.db") == {"in-two"}


# A log beside a file that it does not belong to


def checkpoint(file: Path) -> None:
    """Copy the whole log into the file, as the last connection that closes does."""
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def copy_files(file: Path, to: Path) -> None:
    """Copy a database with what lies beside it."""
    to.mkdir()
    for one in all_of(file):
        if one.exists():
            shutil.copy(one, to)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a killed service left, with what was kept today in its log; `yesterday` has the file of before, `today` all of now."""
    data = tmp_path_factory.mktemp("left")
    with serving(data / "service", f"sqlite:///{data}/receiver.db", **PATIENT) as running:
        assert post(running, "before") == 200
        assert running.stop() == 0
        checkpoint(data / "receiver.db")
        copy_files(data / "receiver.db", data / "yesterday")
        for day in ("of-yesterday", "of-today"):
            running.restart()
            assert {post(running, f"{day}-{number}") for number in range(10)} == {200}
            if day == "of-yesterday":
                assert running.stop() == 0
        running.writer().kill()
        assert running.wait() != 0
    assert (data / "receiver.db-wal").stat().st_size > 0
    copy_files(data / "receiver.db", data / "today")
    return data


@pytest.fixture
def crashed(left: Path, data: Path, tmp_path: Path) -> Iterator[Service]:
    """The service of what was left, which does not run."""
    shutil.copytree(left, data, dirs_exist_ok=True)
    with closing(Service(tmp_path / "service", f"sqlite:///{data}/receiver.db", **PATIENT)) as stopped:
        yield stopped


@pytest.mark.parametrize("command", ["serve", "migrate", "prune"])
def test_a_file_of_yesterday_beside_the_log_of_today_is_refused_in_one_line(crashed: Service, data: Path, command: str) -> None:
    shutil.copy(data / "yesterday" / "receiver.db", data / "receiver.db")
    done = run_command(command, cwd=data, env=crashed.env)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"Move {data}/receiver.db-wal" in done.stderr
    assert (data / "receiver.db-wal").read_bytes() == (data / "today" / "receiver.db-wal").read_bytes()
    (data / "receiver.db-wal").unlink()
    (data / "receiver.db-shm").unlink()
    crashed.restart()
    assert post(crashed, "after") == 200
    assert {"before", "after"} <= kept(crashed.database_url)


def test_a_file_of_today_beside_its_own_log_is_served_with_all_that_was_answered(crashed: Service, data: Path) -> None:
    crashed.restart()
    assert post(crashed, "after") == 200
    assert {"of-yesterday-9", "of-today-9"} <= kept(crashed.database_url)


def test_a_log_of_yesterday_beside_a_file_of_today_is_refused(crashed: Service, data: Path) -> None:
    crashed.restart()
    assert crashed.stop() == 0
    crashed.restart()
    assert post(crashed, "later") == 200
    assert crashed.stop() == 0
    checkpoint(data / "receiver.db")
    for end in ("-wal", "-shm"):
        shutil.copy(data / "today" / f"receiver.db{end}", data)
    assert run_command("serve", cwd=data, env=crashed.env).returncode == 1


def test_a_file_that_is_copied_over_the_open_one_is_not_written_to(crashed: Service, data: Path) -> None:
    crashed.restart()
    assert post(crashed, "after") == 200
    yesterday = (data / "yesterday" / "receiver.db").read_bytes()
    size = (data / "receiver.db").stat().st_size
    with (data / "receiver.db").open("r+b") as file:
        file.write(yesterday[:size])
    assert {post(crashed, f"lost-{number}") for number in range(5)} == {503}
    assert crashed.get("/readyz").status == 503
    crashed.stop()
    assert (data / "receiver.db").read_bytes()[: len(yesterday)] == yesterday[:size]


# One writer


def by_hard_link(file: Path) -> Path:
    os.link(file, file.with_name("linked.db"))
    return file.with_name("linked.db")


def by_symbolic_link(file: Path) -> Path:
    file.with_name("linked.db").symlink_to(file)
    return file.with_name("linked.db")


def by_the_same_name_without_its_lock(file: Path) -> Path:
    Path(f"{file}.lock").unlink()
    return file


@pytest.mark.parametrize("reach", [by_hard_link, by_symbolic_link, by_the_same_name_without_its_lock], ids=lambda f: f.__name__)
@pytest.mark.parametrize("command", ["serve", "prune", "setup-window ship24 --minutes 5"])
def test_a_second_writer_is_refused_whatever_path_it_uses(
    running: Service, data: Path, reach: Callable[[Path], Path], command: str
) -> None:
    other = reach(data / "receiver.db")
    env = running.env | {"RECEIVER_DATABASE_URL": f"sqlite:///{other}", "RECEIVER_PORT": "0"}
    done = run_command(*command.split(), cwd=data, env=env)
    assert running.process is not None
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"Process {running.process.pid} already writes to {other}" in done.stderr


_HOLD = """
import pathlib, socket, sys
from receiver.storage.lock import WriterLock
socket.sethostname("other")
held = WriterLock(pathlib.Path("receiver.db"))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_writer_in_another_container_is_named_with_its_host(data: Path) -> None:
    make_tables(url := f"sqlite:///{data}/receiver.db")
    container = ["unshare", "--pid", "--uts", "--fork", sys.executable, "-c", _HOLD]
    with subprocess.Popen(container, cwd=data, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        if not holder.stdout.readline():
            lacking("this user may not make a namespace of process ids")
        done = run_command("prune", cwd=data, env=environment(url))
        holder.stdin.close()
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("receiver: Process 1 in another container (host name other) already writes to ")


def test_whoever_writes_next_waits_for_the_last_commit_of_a_service_that_was_killed(running: Service, data: Path) -> None:
    lock = data / "receiver.db.lock"
    lock.unlink()
    with (data / "migrate.log").open("w+b") as log, Path(os.devnull).open("rb") as nothing:
        with running.held_up():
            assert running.process is not None
            running.process.kill()
            running.process.wait(DEADLINE_SECONDS)
            migrate = start_command("migrate", cwd=data, env=running.env, files=(nothing, log, log))
            wait_until(lambda: lock.exists() and lock.read_text(encoding="ascii"), "the command has come to the lock of the file")
            assert migrate.poll() is None
        assert migrate.wait(DEADLINE_SECONDS) == 0


def test_a_lock_that_another_user_made_is_named_with_what_to_do(tmp_path: Path, sqlite_url: str) -> None:
    if os.geteuid() != 0:
        lacking("only root can be another user")
    make_tables(sqlite_url)
    tmp_path.chmod(0o777)
    (tmp_path / "receiver.db").chmod(0o666)
    (tmp_path / "receiver.db.lock").touch(mode=0o600)
    script = "import os, sys; from receiver.storage.lock import WriterLock; from pathlib import Path\n"
    script += "from receiver.errors import StorageUnavailable\nos.setuid(65534)\ntry: WriterLock(Path(sys.argv[1]))\n"
    script += "except StorageUnavailable as error: print(error.message)"
    file = os.path.relpath(tmp_path / "receiver.db", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", script, file], cwd=tmp_path, env=BASE, capture_output=True, text=True, check=False
    )
    assert "receiver.db.lock belongs to root" in done.stdout
    assert "chown" in done.stdout


def test_files_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path, service: StartService) -> None:
    before = os.umask(0)
    try:
        env = {"RECEIVER_DATABASE_URL": f"sqlite:///{tmp_path}/data/receiver.db"}
        shell = ["init", "migrate"]
        assert [run_command(command, cwd=tmp_path, env=service_env(env)).returncode for command in shell] == [0, 0]
        running = service(env["RECEIVER_DATABASE_URL"])
        assert post(running, "one") == 200
        files = [*all_of(tmp_path / "data/receiver.db"), tmp_path / "data/receiver.db.lock", tmp_path / ".env"]
        assert {f"{file.stat().st_mode & 0o777:o}" for file in files} == {"600"}
    finally:
        os.umask(before)


def service_env(env: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **env}


# What commands advise when it is not there


def remove_with_lock(file: Path) -> None:
    file.unlink()
    Path(f"{file}.lock").unlink()


def remove_folder(file: Path) -> None:
    shutil.rmtree(file.parent)


def move_folder(file: Path) -> None:
    file.parent.rename(file.parent.with_name("moved"))


def move_folder_and_make_an_empty_one(file: Path) -> None:
    move_folder(file)
    file.parent.mkdir()


LOST_WHILE_SERVED = [
    *(remove, move_away, remove_all, remove_with_lock, remove_folder, move_folder, move_folder_and_make_an_empty_one),
    *(replace_by_an_empty_file, replace_by_another_database, empty),
]
"""What leaves no tables of ours at the path."""


@pytest.mark.parametrize("harm", LOST_WHILE_SERVED, ids=lambda harm: harm.__name__)
def test_commands_beside_a_service_that_lost_its_file_say_how_to_put_it_back_and_make_no_other(
    running: Service, data: Path, harm: Callable[[Path], None]
) -> None:
    harm(data / "receiver.db")
    commands = (
        "trackers list",
        "stats",
        "prune --dry-run",
        "deliveries replay --all --dry-run",
        "setup-window ship24 --minutes 5",
    )
    for command in commands:
        done = run_command(*command.split(), cwd=running.directory, env=running.env)
        assert done.returncode in {1, 2}, command
        assert done.stderr.count("\n") == 1, done.stderr
        assert "migrate" not in done.stderr, done.stderr
    findings = {item["subject"]: item for item in json.loads(doctor(running))}
    assert findings["database"]["verdict"] == "fail"
    assert "migrate" not in findings["database"]["finding"]
    assert any(word in findings["database"]["finding"] for word in ("copy", "malformed")), findings["database"]
    size = (data / "receiver.db").stat().st_size if (data / "receiver.db").exists() else None
    assert run_command("migrate", cwd=running.directory, env=running.env).returncode != 0
    assert size == ((data / "receiver.db").stat().st_size if (data / "receiver.db").exists() else None)
    answer = running.get("/readyz")
    assert (answer.status, answer.json()["checks"]["database"]["ok"] and answer.json()["checks"]["schema"]["ok"]) == (503, False)


def test_a_file_of_which_only_the_log_is_left_is_not_made_anew(crashed: Service, data: Path) -> None:
    log = (data / "receiver.db-wal").read_bytes()
    for prepare in (remove, Path.touch):
        prepare(data / "receiver.db")
        for command in ("migrate", "serve", "prune", "trackers list"):
            done = run_command(*command.split(), cwd=data, env=crashed.env)
            assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
            assert f"restore your copy of it to {data}/receiver.db" in done.stderr
            assert "migrate" not in done.stderr
        assert (data / "receiver.db-wal").read_bytes() == log
    shutil.copy(data / "today" / "receiver.db", data / "receiver.db")
    crashed.restart()
    assert {"of-yesterday-9", "of-today-9"} <= kept(crashed.database_url)


def test_a_file_that_was_removed_after_the_service_had_stopped_is_missed_by_its_lock(running: Service, data: Path) -> None:
    assert running.stop() == 0
    for file in all_of(data / "receiver.db"):
        file.unlink(missing_ok=True)
    done = run_command("trackers", "list", cwd=data, env=running.env)
    assert done.returncode == 1
    assert "restore your copy" in done.stderr
    assert f"remove {data}/receiver.db.lock first" in done.stderr
    (data / "receiver.db.lock").unlink()
    done = run_command("trackers", "list", cwd=data, env=running.env)
    assert (done.returncode, "Run `receiver migrate` first" in done.stderr) == (2, True)


# The doctor


def doctor(running: Service) -> str:
    return run_command("doctor", "--json", cwd=running.directory, env=running.env).stdout


def test_the_doctor_checks_the_file_and_who_may_read_it(running: Service, data: Path) -> None:
    assert "quick_check found no damage" in doctor(running)
    assert "chmod 600" in doctor(running), "the tests make the file readable"
    for file in all_of(data / "receiver.db"):
        file.chmod(0o600)
    assert "chmod 600" not in doctor(running)
    assert running.stop() == 0
    with (data / "receiver.db").open("r+b") as damaged:
        damaged.seek(5 * 4096)
        damaged.write(b"\xff" * 4096 * 4)
    assert '"fail"' in doctor(running)
    assert "damaged" in doctor(running) or "malformed" in doctor(running)
