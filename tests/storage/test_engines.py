"""Database URLs and the parameters of connections."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from receiver.errors import ConfigurationError
from receiver.storage.database import Database
from receiver.storage.engines import connection_arguments, read_url
from tests.harness.table import each_row


def arguments(url: str) -> dict[str, Any]:
    return connection_arguments(read_url(url), "receiver test")


@each_row(
    ("url", "host", "port"),
    [
        ("postgresql://u:p@one:1,two:2/n", "one,two", "1,2"),
        ("postgres://u:p@one,two:2/n", "one,two", ",2"),
        ("postgresql+psycopg://u:p@one,two/n", "one,two", ","),
        ("postgresql://u:p@[::1]:1,[fe80::2]/n", "::1,fe80::2", "1,"),
        ("postgresql://u:p@/n?host=one,two&port=1,2", "one,two", "1,2"),
        ("postgresql://u:p@/n?host=one:1&host=two:2", "one,two", "1,2"),
        ("postgresql://u:p@one:1/n", "one", 1),
    ],
)
def test_servers_are_named_in_every_usual_way(url: str, host: str, port: object) -> None:
    made = arguments(url)
    assert (made["host"], made.get("port")) == (host, port)
    assert (made["user"], made["password"], made["dbname"]) == ("u", "p", "n")


def test_options_and_a_strange_password_go_with_several_servers() -> None:
    made = arguments("postgresql://u:p%2C,/@one:1,two:2/n?sslmode=require")
    assert (made["password"], made["host"], made["sslmode"]) == ("p,,/", "one,two", "require")


def test_a_password_with_a_comma_is_no_list_of_servers() -> None:
    made = arguments("postgresql://u:hunter2,w@one:1/n")
    assert (made["user"], made["password"], made["host"], made["port"]) == ("u", "hunter2,w", "one", 1)


def test_a_path_with_a_comma_is_no_list_of_servers() -> None:
    assert read_url("sqlite:///data/a,b.db").database == "data/a,b.db"


def test_of_several_servers_the_primary_is_taken_and_each_has_its_time() -> None:
    one, several = arguments("postgresql://one/n"), arguments("postgresql://one,two,three/n")
    assert (one["target_session_attrs"], several["target_session_attrs"]) == ("any", "primary")
    assert 3 * several["connect_timeout"] < 10, "less than a sender waits for a commit"


def test_options_in_the_url_take_precedence() -> None:
    made = arguments("postgresql://one,two/n?target_session_attrs=any&connect_timeout=9&application_name=mine&tcp_user_timeout=7")
    names = ("target_session_attrs", "connect_timeout", "application_name", "tcp_user_timeout")
    assert [made[name] for name in names] == ["any", "9", "mine", "7"]


@each_row(
    "url",
    [
        "postgresql://u:hunter2@one/n?nonsense=1",
        "postgresql://u:hunter2@one,two/n?nonsense=1",
        "postgresql://u:hunter2@/n?host=one:1&host=two:2&port=3,4,5",
        "postgresql://u:x@hunter2@one/n",
        "postgresql://u:hunter2,?@one/n",
    ],
)
def test_a_url_that_means_nothing_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="RECEIVER_DATABASE_URL") as refused:
        read_url(url)
    assert "hunter2" not in refused.value.message


@each_row(
    "url",
    ["postgresql://u:hunter2@one:1,two:2/n", "postgresql://u@one/n?password=hunter2", "postgresql://one/n?sslpassword=hunter2"],
)
def test_a_password_is_used_and_not_shown(url: str) -> None:
    assert "hunter2" in arguments(url).values()
    assert "hunter2" not in f"{Database(url)!r} {Database(url)}"


def read_page_bytes(file: Path) -> int:
    return int.from_bytes(file.read_bytes()[16:18], "big")  # sqlite.org/fileformat.html, "The Database Header"


def test_a_new_file_has_small_pages_and_others_keep_theirs(tmp_path: Path) -> None:
    new, old = tmp_path / "new.db", tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as made:
        made.execute("PRAGMA page_size=4096")
        made.execute("CREATE TABLE kept (value)")
    for file in (new, old):
        database = Database(f"sqlite:///{file}")
        database.take(create=True)
        with database.connect_writer() as connection, connection.begin():
            connection.exec_driver_sql("CREATE TABLE other (value)")
        database.vacuum()
        database.close()
    assert (read_page_bytes(new), read_page_bytes(old)) == (2048, 4096)
