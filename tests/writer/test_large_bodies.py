"""Large and compressed bodies are read in the writing process and stored like all others."""

import asyncio
import gzip
import json
import socket
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from functools import partial
from threading import get_ident
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from receiver.access.bearer import AccessPolicy, AddressPolicy, Secret
from receiver.access.guard import ClientResolver, RequestGuard
from receiver.access.headers import HeaderReader
from receiver.access.operators import Operator
from receiver.access.refusal_causes import WrongTokens
from receiver.access.sessions import Session
from receiver.access.setup_windows import SetupWindows
from receiver.clock import to_micros
from receiver.domain.records import Delivery, Message, Submission, UnreadDelivery
from receiver.domain.replays import ReplayOptions
from receiver.maintenance.replay import StoredReplay
from receiver.sources import Source, intake, ship24
from receiver.storage.database import Database
from receiver.storage.reader import Reader
from receiver.web.api.command_context import CommandContext
from receiver.web.api.routes import ApiRoutes
from receiver.web.body import BodyReader, MemoryBudget
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Pages
from receiver.web.console.replays import replay_delivery
from receiver.web.console.time_zones import UTC_ZONE
from receiver.web.webhooks import MAX_READ_HERE_BYTES, WebhookEndpoint
from receiver.writer.client import WriterClient
from receiver.writer.commands.deliveries import Replay
from receiver.writer.commands.operators import Audited
from receiver.writer.counters import Counters
from receiver.writer.wire import Execute, Keep, Read, Unpacker
from tests.conftest import StartService
from tests.harness.load import until_taken
from tests.harness.rows import delivery_row
from tests.harness.service import PATIENT, SHIP24, TOKEN, Reply, Service, serving
from tests.harness.ship24 import body, item, single
from tests.harness.storage import make_tables
from tests.harness.store import NOW, delivery, opened
from tests.harness.table import each_row

PACKAGE = "/webhooks/shiipp/new-package"
_LIMIT = 5 * 2**20


# Where bodies are read


async def _know_no_windows() -> dict[str, int]:
    return {}


class ReadingProcess:
    """A webhook whose writing process is the test: it sees which bodies are parsed here, and which are passed on."""

    def __init__(self) -> None:
        self.read_here: list[int] = []
        source = Source("ship24", "tracking", SHIP24, self._split, b"")
        access_policy = AccessPolicy((Secret("t", TOKEN),), (), AddressPolicy.OFF)
        request_guard = RequestGuard(
            "ship24",
            "tracking",
            SHIP24,
            ("POST",),
            access_policy,
            ClientResolver((), HeaderReader([]), SetupWindows(_know_no_windows)),
            WrongTokens({}, lambda _: None),
        )
        self._writer_client = WriterClient(1000, 60, lambda: None, Counters())
        self._webhook = WebhookEndpoint(
            source, request_guard, BodyReader(_LIMIT, MemoryBudget(8 * _LIMIT)), self._writer_client, ()
        )
        self._unpacker = Unpacker()

    def _split(self, content: bytes) -> list[Message]:
        self.read_here.append(len(content))
        return ship24.split(content)

    async def post(self, content: bytes, *headers: tuple[bytes, bytes]) -> Keep | Read:
        """Post a body; return what the writing process gets."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        await self._writer_client.open(ours)
        scope = {
            "method": "POST",
            "client": ("127.0.0.1", 1),
            "headers": [(b"authorization", f"Bearer {TOKEN}".encode()), *headers],
        }
        call = asyncio.create_task(self._webhook(scope, partial(_give, content), _ignore))
        with theirs:
            handed: list[Any] = []
            while not handed:
                handed = self._unpacker.feed(await asyncio.get_running_loop().sock_recv(theirs, 1 << 20))
        await call  # answered with 503: the writing process is gone
        assert isinstance(handed[0], Keep | Read)
        return handed[0]


async def _give(content: bytes) -> MutableMapping[str, Any]:
    return {"type": "http.request", "body": content, "more_body": False}


async def _ignore(_message: MutableMapping[str, Any]) -> None:
    pass


def padded(size: int) -> bytes:
    return single().ljust(size)


def test_a_small_body_is_read_at_once() -> None:
    reading = ReadingProcess()
    handed = asyncio.run(reading.post(padded(MAX_READ_HERE_BYTES)))
    assert isinstance(handed, Keep)
    assert reading.read_here == [MAX_READ_HERE_BYTES]


@each_row(
    ("content", "headers"),
    [
        pytest.param(padded(MAX_READ_HERE_BYTES + 1), [], id="large"),
        pytest.param(b"x" * _LIMIT, [], id="as large as may be, and not JSON"),
        pytest.param(gzip.compress(b" " * 100), [(b"content-encoding", b"gzip")], id="compressed"),
        pytest.param(b"?", [(b"content-encoding", b"br")], id="of an encoding that nobody here reads"),
    ],
)
def test_a_large_or_compressed_body_is_handed_on_as_it_came(content: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    reading = ReadingProcess()
    handed = asyncio.run(reading.post(content, *headers))
    assert isinstance(handed, Read)
    assert handed.unread.delivery.body == content
    assert reading.read_here == []


async def _count_read_in_a_turn(calls: int, body_bytes: int) -> Counter[int]:
    """Return how many deliveries of this size were read in each turn of the loop if all arrive at once."""
    ours, theirs = socket.socketpair()
    writer_client = WriterClient(calls, 60, lambda: None, Counters())
    await writer_client.open(ours)
    loop = asyncio.get_running_loop()
    turn, read_in = 0, Counter[int]()

    def count_turns() -> None:
        nonlocal turn
        turn += 1
        if sum(read_in.values()) < calls:
            loop.call_soon(count_turns)

    def read(call: Delivery) -> Submission:
        read_in[turn] += 1
        return intake.parse_delivery(source, call)

    source = Source("ship24", "tracking", SHIP24, ship24.split, b"")
    loop.call_soon(count_turns)
    content = padded(body_bytes)
    waiting = [asyncio.create_task(writer_client.store(call, partial(read, call))) for call in [delivery(content)] * calls]
    with theirs:
        theirs.setblocking(False)
        while sum(read_in.values()) < calls:
            await loop.sock_recv(theirs, 1 << 20)
    await asyncio.gather(*waiting)
    return read_in


@each_row(("body_bytes", "at_most"), [(MAX_READ_HERE_BYTES, 2), (MAX_READ_HERE_BYTES // 4, 8), (2 * MAX_READ_HERE_BYTES, 2)])
def test_of_many_calls_at_once_few_are_read_in_one_turn_of_the_loop(body_bytes: int, at_most: int) -> None:
    """Count those before and after the flush of one turn."""
    read_in = asyncio.run(_count_read_in_a_turn(12, body_bytes))
    assert sum(read_in.values()) == 12
    assert at_most / 4 <= max(read_in.values()) <= at_most


class Ordering:
    """A desk whose writing process is the test: it sees what an order hands on, and replies with a failure."""

    def __init__(self) -> None:
        self.writer_client = WriterClient(1000, 60, lambda: None, Counters())

    async def see(self, order: Callable[[], Awaitable[object]]) -> Execute:
        """Return the first message that an order causes."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        await self.writer_client.open(ours)
        call = asyncio.ensure_future(order())
        unpacker, handed = Unpacker(), list[Any]()
        with theirs:
            while not handed:
                handed = unpacker.feed(await asyncio.get_running_loop().sock_recv(theirs, 1 << 20))
        await asyncio.gather(call, return_exceptions=True)  # the writing process is gone
        assert isinstance(handed[0], Execute)
        return handed[0]


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_delivery_that_is_decided_again_is_handed_on_as_bytes(sqlite_url: str, *, dry_run: bool) -> None:
    content = body(*(item(padding="x" * 400) for _ in range(200)))
    make_tables(sqlite_url)
    with opened(sqlite_url) as store:
        (kept,) = store.keep(content)
    delivery_id = json.loads(kept.body)["delivery_id"]
    ordering, database = Ordering(), Database(sqlite_url)
    replayer = StoredReplay(ordering.writer_client.do, Reader(database).read, database)
    options = ReplayOptions(to_micros(NOW), force=True, dry_run=dry_run)
    order = partial(replayer.replay, Operator("anna", None).entry, delivery_id, options)
    done = asyncio.run(ordering.see(order))
    database.close()
    command = done.command.command if isinstance(done.command, Audited) else done.command
    assert isinstance(command, Replay)
    assert isinstance(command.delivery, UnreadDelivery)
    assert command.delivery.delivery.body == content


class Threads:
    """Stands for the replay, its result, the session guard, the reader and the renderer; notes the threads that render."""

    changed = False
    items = trackers = ()

    def __init__(self) -> None:
        self.used_in: list[int] = []

    async def replay(self, *_: object, **__: object) -> "Threads":
        return self

    def identify(self, _request: Request) -> Operator:
        return Operator("anna", None)

    def as_json(self) -> dict[str, Any]:
        self.used_in.append(get_ident())
        return {}

    def render(self, *_: object, **__: object) -> Response:
        self.used_in.append(get_ident())
        return Response()

    async def read(self, query: Callable[..., Any], *arguments: object) -> Any:
        return query(*arguments)

    def has_cookie(self, _request: Request) -> bool:
        return True

    def admit(self, request: Request, now: Any) -> ConsoleRequest:
        session = Session("anna", "digest", "form token")
        place = {"url": "/", "is_https": False, "host": "", "zone": UTC_ZONE}
        return ConsoleRequest(Operator("anna", None), session, now, request.path_params, (), **place)  # type: ignore[arg-type]

    def check_form(self, *_: object) -> None:
        """Take every form."""


def test_what_a_replay_changed_is_written_out_beside_the_event_loop() -> None:
    threads: Any = Threads()
    scope = {
        "type": "http",
        "path": "/ops/deliveries/id/replay",
        "path_params": {"id": "id", "delivery_id": "id"},
        "query_string": b"",
        "headers": [],
        "method": "POST",
    }
    page = Pages(threads, threads, threads).take(partial(replay_delivery, threads))
    asyncio.run(page(Request(scope, partial(_give, b"command=replay"))))
    context = CommandContext(*(threads for _ in CommandContext._fields))
    (route,) = [route for route in ApiRoutes(threads, threads, threads, context, dict).routes() if route.path.endswith("/replay")]
    asyncio.run(route.endpoint(Request(scope, partial(_give, b"{}"))))
    assert len(threads.used_in) == 2
    assert get_ident() not in threads.used_in


def test_a_customer_list_is_read_by_the_writing_process(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens="ops-token", commit_timeout_seconds="1")
    wrong = json.dumps({"rows": [["A", "no document"]]}).encode()
    with running.held_up():
        assert running.post(wrong, "/ops/api/customers", "ops-token").status == 503
    answer = until_taken(lambda: running.post(wrong, "/ops/api/customers", "ops-token"))
    assert (answer.status, answer.json()["error"]["message"]) == (422, "rows.0.1: expected the JSON text of an object.")


def test_a_customer_list_of_five_megabytes_is_served(running: Service) -> None:
    rows = [[f"C{number:06}", json.dumps({"UserCode": f"C{number:06}", "FirstName": "x" * 40})] for number in range(55_000)]
    content = json.dumps({"rows": rows}).encode()
    assert len(content) > 5 * 2**20
    answer = running.post(content, "/ops/api/customers", "ops-token")
    assert (answer.status, answer.json()["customers"], answer.json()["added"]) == (200, 55_000, 55_000)
    entry = running.get("/ops/api/audit?limit=1", "ops-token").json()["items"][0]
    assert (entry["action"], entry["detail"].partition(":")[0]) == ("customers import", "55000 customers")


# What becomes of them


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("large")
    with serving(folder, f"sqlite:///{folder}/large.db", shiipp_tokens=TOKEN, ops_tokens="ops-token", **PATIENT) as service:
        yield service


def stored(service: Service, answer: Reply) -> dict[str, Any]:
    return delivery_row(service.database_url, answer.json()["delivery_id"])


def test_a_body_of_thousands_of_items_is_decided_and_kept_whole(running: Service) -> None:
    content = body(*(item(padding="x" * 400) for _ in range(4500)))
    answer = running.post(content)
    told = answer.json()
    assert (answer.status, told["received"], told["applied"], len(told["messages"])) == (200, 4500, 4500, 100)
    assert stored(running, answer)["body"] == content


def test_an_object_of_many_keys_is_decided_and_kept_whole(running: Service) -> None:
    content = json.dumps({"package_id": "many-keys"} | {f"key-{number}": number for number in range(200_000)}).encode()
    answer = running.post(content, path=PACKAGE)
    assert (answer.status, answer.outcomes()) == (200, ["applied"])
    assert stored(running, answer)["body"] == content


@each_row(("content", "status"), [(b"[" * 100_000, 400), (b"{" + b" " * 100_000 + b"}", 422)])
def test_a_large_body_that_cannot_be_read_is_refused_and_kept_whole(running: Service, content: bytes, status: int) -> None:
    answer = running.post(content)
    assert answer.status == status
    assert (stored(running, answer)["outcome"], stored(running, answer)["body"]) == ("unreadable", content)


@each_row(("coding", "code"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity, GZip", gzip.compress)])
@each_row("path", [SHIP24, PACKAGE])
def test_a_compressed_body_is_read_and_stored_inflated(running: Service, coding: str, code: Any, path: str) -> None:
    content = single() if path == SHIP24 else json.dumps({"package_id": f"p-{coding}"}).encode()
    answer = running.post(code(content), path, headers=[("Content-Encoding", coding)])
    assert (answer.status, answer.outcomes()) == (200, ["applied"])
    row = stored(running, answer)
    assert (row["body"], row["body_bytes"]) == (content, len(content))
    assert f"{len(code(content))} bytes" in row["note"]
    assert "content-encoding" not in row["headers"]


def test_a_compressed_body_can_be_decided_again(running: Service) -> None:
    answer = running.post(gzip.compress(single()), headers=[("Content-Encoding", "gzip")])
    path = f"/ops/api/deliveries/{answer.json()['delivery_id']}/replay"
    again = running.post(b"{}", path, token="ops-token")
    assert (again.status, again.json()["changed"]) == (200, False)


def test_a_body_that_cannot_be_inflated_is_400_and_kept_as_it_came(running: Service) -> None:
    content = gzip.compress(single())[:-4]
    answer = running.post(content, headers=[("Content-Encoding", "gzip")])
    assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_json")
    row = stored(running, answer)
    assert (row["outcome"], row["body"]) == ("unreadable", content)
    assert '["content-encoding","gzip"]' in row["headers"]


def test_another_encoding_is_415_and_kept_as_it_came(running: Service) -> None:
    answer = running.post(b"brotli?", headers=[("Content-Encoding", "br")])
    assert (answer.status, answer.json()["error"]["code"]) == (415, "unsupported_encoding")
    assert "'br'" in answer.json()["error"]["message"]
    assert answer.headers["accept-encoding"] == "gzip, deflate"
    row = stored(running, answer)
    assert (row["outcome"], row["body"]) == ("unreadable", b"brotli?")


def test_a_bomb_is_413_and_leaves_nothing_but_its_record(running: Service) -> None:
    answer = running.post(gzip.compress(b" " * 200_000_000, 9), headers=[("Content-Encoding", "gzip")])
    assert (answer.status, answer.json()["error"]["code"]) == (413, "body_too_large")
    row = stored(running, answer)
    assert (row["outcome"], row["body_bytes"]) == ("refused", 0)


def test_a_stranger_learns_nothing_by_an_encoding(running: Service) -> None:
    assert running.post(b"?", token="wrong", headers=[("Content-Encoding", "br")]).status == 401
