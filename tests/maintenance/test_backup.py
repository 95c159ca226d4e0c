"""`receiver backup` and `receiver restore`, as an operator runs them."""

import os
import shutil
import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event

import pytest

from tests.conftest import StartService, lacking
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.database_contents import contents, differing
from tests.harness.disk import NoDisk, fill, small_disk
from tests.harness.rows import table_rows
from tests.harness.service import DEADLINE_SECONDS, Service, environment, start_command
from tests.harness.storage import make_tables, update_rows
from tests.harness.store import opened

OPS = "the-ops-token-of-these-tests"
STORED = {"before", "after", "in the WAL"}


def run(folder: Path, env: Mapping[str, str], *arguments: str, code: int = 0) -> str:
    done = run_command(*arguments, cwd=folder, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert OPS not in done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def deliver(url: str, *names: str) -> None:
    """Store a message of each name without a service."""
    with opened(url) as store:
        for name in names:
            store.keep(ship24.single(name))


def messages(url: str) -> set[str]:
    return {row["message_id"] for row in table_rows(url, "messages", "message_id")}


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database in a folder of its own, with the message `before`."""
    made = f"sqlite:///{tmp_path}/data/receiver.db"
    make_tables(made)
    deliver(made, "before")
    return made


@pytest.fixture
def copy(url: str, tmp_path: Path) -> Path:
    """A copy of that database, which has the message `after` besides."""
    run(tmp_path, environment(url), "backup", "copy.db")
    deliver(url, "after")
    return tmp_path / "copy.db"


# Backup


def test_a_running_service_copies_between_its_commits(service: StartService, url: str, tmp_path: Path) -> None:
    running = service(url, ops_tokens=OPS)
    ended = Event()

    def send(sender: int) -> None:
        number = 0
        while not ended.is_set():
            assert running.post(ship24.single(f"{sender}-{number}")).outcomes() == ["applied"]
            number += 1

    with ThreadPoolExecutor() as pool:
        senders = [pool.submit(send, number) for number in range(4)]
        known = messages(url)
        said = run(tmp_path, running.env, "backup", "copy.db")
        ended.set()
        for sender in senders:
            sender.result()
    assert [file.name for file in tmp_path.glob("copy.db*")] == ["copy.db"]
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    found = messages(f"sqlite:///{tmp_path}/copy.db")
    assert known <= found <= messages(url)
    assert "undamaged" in said
    assert f"deliveries {len(found)}" in said
    assert "undamaged" in run(tmp_path, running.env, "backup", "copy.db", "--check")


def test_a_service_without_an_ops_token_cannot_be_asked(service: StartService, url: str, tmp_path: Path) -> None:
    running = service(url)
    assert "set RECEIVER_OPS_TOKENS" in run(tmp_path, running.env, "backup", "copy.db", code=2)
    assert list(tmp_path.glob("copy.db*")) == []


def test_a_service_cannot_be_asked_to_write_a_file_whose_name_is_not_utf_8(
    service: StartService, url: str, tmp_path: Path
) -> None:
    running = service(url, ops_tokens=OPS)
    assert "cannot be asked" in run(tmp_path, running.env, "backup", "caf\udce9.db", code=2)
    assert sorted(file.name for file in tmp_path.glob("caf*")) == []


def test_no_file_is_overwritten(url: str, tmp_path: Path) -> None:
    for name, words in (("copy.db", "exists already"), ("copy.db.partial", "another backup is writing it")):
        (tmp_path / name).write_text("precious")
        assert words in run(tmp_path, environment(url), "backup", "copy.db", code=2)
        assert (tmp_path / name).read_text() == "precious"
        (tmp_path / name).unlink()


def test_a_backup_without_room_leaves_nothing(service: StartService, url: str, tmp_path: Path) -> None:
    running = service(url, ops_tokens=OPS)
    try:
        with small_disk(tmp_path / "disk", 1) as disk:
            (disk / "filler").write_bytes(bytes(950_000))
            assert "Not enough space" in run(tmp_path, running.env, "backup", str(disk / "copy.db"), code=1)
            assert [file.name for file in disk.iterdir()] == ["filler"]
            fill(disk)
            expected = f"Cannot write {disk}/copy.db.partial: No space left on device."
            assert expected in run(tmp_path, running.env, "backup", str(disk / "copy.db"), code=1)
            assert [file.name for file in disk.iterdir()] == ["filler"]
    except NoDisk as error:
        lacking(str(error))


def test_postgresql_is_backed_up_with_its_own_programs(tmp_path: Path) -> None:
    env = environment("postgresql://nobody:hidden@localhost/nothing")
    for command, program in (("backup", "pg_dump"), ("restore", "pg_restore")):
        said = run(tmp_path, env, command, "copy.db", code=2)
        assert program in said
        assert "hidden" not in said


# What is no good copy


def damage(copy: Path) -> None:
    with copy.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 30_000)


def cut(copy: Path) -> None:
    with copy.open("r+b") as file:
        file.truncate(20_000)


def put_text(copy: Path) -> None:
    copy.write_text("a letter")


def remove(copy: Path) -> None:
    copy.unlink()


def add_wal(copy: Path) -> None:
    """Copy the files of a database in use, as `cp` does."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE more (id)")
        shutil.copy(f"{copy}-wal", f"{copy}-kept")
    Path(f"{copy}-kept").rename(f"{copy}-wal")


def empty(copy: Path) -> None:
    copy.unlink()
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("CREATE TABLE other (id)")


def become_pipe(copy: Path) -> None:
    copy.unlink()
    os.mkfifo(copy)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (damage, "is damaged"),
        (cut, "is damaged"),
        (put_text, "is not a SQLite database"),
        (remove, "No such file"),
        (add_wal, "has a write-ahead log beside it"),
        (empty, "is no database of receiver"),
        (become_pipe, "is not a regular file"),
    ],
)
def test_a_bad_copy_is_named_and_never_restored(url: str, copy: Path, spoil: object, words: str) -> None:
    assert callable(spoil)
    spoil(copy)
    before = contents(url)
    for arguments in (("backup", "copy.db", "--check"), ("restore", "copy.db")):
        assert words in run(copy.parent, environment(url), *arguments, code=1)
    assert differing(before, contents(url)) == set()


def test_a_copy_of_a_later_version_is_not_restored(url: str, copy: Path) -> None:
    update_rows(f"sqlite:///{copy}", "alembic_version", version_num="9999")
    before = contents(url)
    assert "a later version of receiver" in run(copy.parent, environment(url), "restore", "copy.db", code=2)
    assert differing(before, contents(url)) == set()


def test_a_copy_with_the_name_of_the_file_that_restore_makes_is_not_removed(url: str, copy: Path) -> None:
    (file,) = Path(url.removeprefix("sqlite:///")).parent.glob("*.db")
    kept = copy.rename(f"{file}.restoring")
    assert "another name" in run(kept.parent, environment(url), "restore", str(kept), code=2)
    assert kept.exists()


# Restore


def test_restore_puts_the_copy_in_place_and_keeps_what_was_there(service: StartService, url: str, copy: Path) -> None:
    running = service(url, ops_tokens=OPS)
    assert running.post(ship24.single("in the WAL")).outcomes() == ["applied"]
    running.kill()
    said = run(copy.parent, running.env, "restore", "copy.db")
    (aside,) = (copy.parent / "data").glob("receiver.db.before-restore-*")
    assert str(aside) in said
    assert messages(url) == {"before"}
    assert messages(f"sqlite:///{aside}/receiver.db") == STORED
    running.restart()
    assert running.post(ship24.single("before")).outcomes() == ["duplicate"]
    assert running.post(ship24.single("after")).outcomes() == ["applied"]
    actions = [row["action"] for row in table_rows(url, "audit", "action", order="id")]
    assert actions == ["backup", "restore"]


def test_a_copy_and_a_restored_database_belong_to_the_owner_of_the_database(url: str, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        lacking("only root may give files to others")
    database, owner = tmp_path / "data/receiver.db", 12345
    for file in (database.parent, *database.parent.iterdir()):
        os.chown(file, owner, owner)
    run(tmp_path, environment(url), "backup", "copy.db")
    assert ((tmp_path / "copy.db").stat().st_uid, (tmp_path / "copy.db").stat().st_gid) == (owner, owner)
    run(tmp_path, environment(url), "restore", "copy.db")
    assert (database.stat().st_uid, database.stat().st_gid, messages(url)) == (owner, owner, {"before"})


def test_nothing_is_restored_under_a_running_service(service: StartService, url: str, copy: Path) -> None:
    running = service(url, ops_tokens=OPS)
    assert "already writes to" in run(copy.parent, running.env, "restore", "copy.db", code=2)
    assert running.post(ship24.single("after")).outcomes() == ["duplicate"]


def test_a_lost_database_is_restored(service: StartService, url: str, copy: Path) -> None:
    running = service(url, ops_tokens=OPS)
    assert running.post(ship24.single("in the WAL")).outcomes() == ["applied"]
    running.kill()
    (copy.parent / "data/receiver.db").unlink()
    run(copy.parent, running.env, "restore", "copy.db")
    assert messages(url) == {"before"}
    running.restart()


def test_a_disk_without_room_for_the_copy_keeps_the_database(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "data", 2) as disk:
            url = f"sqlite:///{disk}/receiver.db"
            make_tables(url)
            run(tmp_path, environment(url), "backup", str(tmp_path / "copy.db"))
            deliver(url, "after")
            before = contents(url)
            filler = fill(disk)
            expected = f"Cannot write {disk}/receiver.db.restoring: No space left on device."
            assert expected in run(tmp_path, environment(url), "restore", "copy.db", code=1)
            filler.unlink()
            assert not list(disk.glob("*restor*"))
            assert differing(before, contents(url)) == set()
    except NoDisk as error:
        lacking(str(error))


def restore_until(rename: int, folder: Path, env: Mapping[str, str]) -> int:
    """Run `restore`, and kill it as it begins its `rename`-th renaming; return the exit code."""
    strace = shutil.which("strace")
    if strace is None:
        lacking("strace is not installed (Debian package: strace)")
    calls = "rename,renameat,renameat2"
    prefix = [str(strace), "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}"]
    prefix += ["-e", f"inject={calls}:signal=SIGKILL:when={rename}"]
    with TemporaryFile() as files:
        process = start_command("restore", "copy.db", cwd=folder, env=env, files=[files] * 3, prefix=prefix)
        return process.wait(DEADLINE_SECONDS)


@pytest.fixture
def killed(service: StartService, url: str, copy: Path) -> Service:
    """A service that was killed with its writing process, so that its WAL is left."""
    running = service(url, ops_tokens=OPS)
    assert running.post(ship24.single("in the WAL")).outcomes() == ["applied"]
    running.writer().suspend()
    running.close()
    return running


def test_a_restore_that_is_killed_leaves_no_half_database(killed: Service, url: str, copy: Path) -> None:
    folder = copy.parent
    kept = {name: (folder / "data" / name).read_bytes() for name in ("receiver.db", "receiver.db-wal", "receiver.db-shm")}
    outcomes = []
    for rename in range(1, 6):  # database, WAL, its index, the copy, the folder
        for name, content in kept.items():
            (folder / "data" / name).write_bytes(content)
        assert restore_until(rename, folder, killed.env) != 0
        outcomes.append(state_of(folder, killed.env, url))
        run(folder, killed.env, "restore", "copy.db")
        assert messages(url) == {"before"}
        aside = min((folder / "data").glob("*before-restore*"))
        assert messages(f"sqlite:///{aside}/receiver.db") == STORED, "what was there is kept together"
        shutil.rmtree(folder / "data")
        (folder / "data").mkdir()
    assert outcomes == ["whole", "refused", "refused", "refused", "restored"]


def state_of(folder: Path, env: Mapping[str, str], url: str) -> str:
    """Tell what a service would do with the files: refuse them, or serve everything that was stored."""
    done = run_command("serve", cwd=folder, env={**env, "RECEIVER_PORT": "0"}) if not is_whole(folder) else None
    if done is None:
        return {frozenset(STORED): "whole", frozenset({"before"}): "restored"}.get(frozenset(messages(url)), "lost")
    assert done.returncode != 0
    assert "receiver.db" in done.stderr
    return "refused"


def is_whole(folder: Path) -> bool:
    return (folder / "data/receiver.db").exists()
