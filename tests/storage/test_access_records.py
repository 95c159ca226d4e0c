"""What is recorded of tokens and of unknown paths, on both databases."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from receiver.domain.tokens import TokenUse
from receiver.storage import queries
from receiver.web.unknown_paths import MAX_NAMES, UnknownPaths
from receiver.writer.commands import tokens as token_commands
from receiver.writer.commands.operators import NoteTokenUses
from receiver.writer.commands.tokens import RecordTokens
from receiver.writer.commands.unknown_paths import MAX_UNKNOWN_PATHS, NoteUnknownPaths
from tests.harness.storage import make_tables
from tests.harness.store import Store, opened

SHIP24 = "/webhooks/ship24"


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    make_tables(database_url)
    with opened(database_url) as opened_store:
        yield opened_store


def test_tokens_are_known_since_their_first_start_and_removed_since_the_first_without_them(store: Store) -> None:
    old, new = ("ship24", "old", "0000aaaa"), ("ship24", "new", "0000bbbb")
    for now, tokens in ((1, [old]), (2, [new, old]), (3, [new]), (4, [new])):
        store.executor.do(RecordTokens(tokens, now))
    (removed,) = queries.removed_tokens(store.database)
    assert removed == ("ship24", "old", "0000aaaa", 3)
    named = [(name, fingerprint) for _, name, fingerprint in (new, old)]
    assert queries.describe_tokens(store.database, "ship24", named) == [TokenUse("new", 2, None), TokenUse("old", 1, None)]
    store.executor.do(RecordTokens([new, old], 5))
    assert queries.removed_tokens(store.database) == []


def test_a_use_belongs_to_the_token_that_had_the_name_then(store: Store) -> None:
    store.executor.do(RecordTokens([("ship24", "main", "0000aaaa")], 1))
    store.executor.do(NoteTokenUses({("ship24", "main"): 5}))
    assert queries.describe_tokens(store.database, "ship24", [("main", "0000aaaa")]) == [TokenUse("main", 1, 5)]
    not_yet_started = queries.describe_tokens(store.database, "ship24", [("main", "0000bbbb")])
    assert not_yet_started == [TokenUse("main", None, None)]
    store.executor.do(RecordTokens([("ship24", "main", "0000bbbb")], 7))
    assert queries.describe_tokens(store.database, "ship24", [("main", "0000bbbb")]) == [TokenUse("main", 7, None)]
    store.executor.do(NoteTokenUses({("ship24", "main"): 8}))
    assert queries.describe_tokens(store.database, "ship24", [("main", "0000bbbb")]) == [TokenUse("main", 7, 8)]


def test_only_the_last_removed_tokens_are_remembered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_commands, "MAX_REMOVED", 4)
    for now in range(9):
        store.executor.do(RecordTokens([("ship24", f"t{now}", f"{now:08x}")], now))
    removed = queries.removed_tokens(store.database)
    assert [token.name for token in removed] == ["t7", "t6", "t5", "t4"]


def test_a_scan_fills_neither_the_memory_nor_the_database(store: Store) -> None:
    noted: list[NoteUnknownPaths] = []

    async def do(command: Any) -> Any:
        noted.append(command)

    unknown = UnknownPaths(do)
    for number in range(1000):
        unknown.note(f"/webhook/{number}", SHIP24)
    for _ in range(30):
        unknown.note("/webhook/0", SHIP24)
    asyncio.run(unknown.record())
    (command,) = noted
    assert len(command.uses) <= MAX_NAMES + 1
    assert sum(use.requests for use in command.uses) == 1030
    for number in range(20):
        others = [use._replace(path=f"{use.path}/{number}") for use in command.uses if use.path not in {"", "/webhook/0"}]
        asked_for = [use for use in command.uses if use.path in {"", "/webhook/0"}]
        store.executor.do(NoteUnknownPaths([*others, *asked_for]))
    found = {item["path"]: item["requests"] for item in queries.list_unknown_paths(store.database, 0)}
    assert len(found) == MAX_UNKNOWN_PATHS
    assert (found["/webhook/0"], found[None]) == (20 * 31, 20 * (1000 - MAX_NAMES))
