"""What operators may ask and change over HTTP, with an ops token. Without such a token in the settings it is off."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from receiver.clock import iso
from receiver.errors import NotFound, UnexpectedShape
from receiver.gate import Secret, match_bearer
from receiver.sources import NAMES
from receiver.storage.database import Database
from receiver.web.desk import Desk
from receiver.web.windows import SetupWindows


class Ops:
    """The endpoints under `/ops/api`."""

    def __init__(self, tokens: tuple[Secret, ...], database: Database, desk: Desk, windows: SetupWindows) -> None:
        self._tokens = tokens
        self._database = database
        self._desk = desk
        self._windows = windows

    async def open_setup_window(self, request: Request) -> Response:
        """Take `{"source", "opened_at", "closes_at"}` (microseconds) and open or close the window of a source."""
        self._check(request)
        asked = _read_object(await request.body())
        times = asked.get("opened_at"), asked.get("closes_at")
        if asked.get("source") not in NAMES or not all(isinstance(at, int) and 0 <= at < 2**62 for at in times):
            raise UnexpectedShape(f"Expected source (one of {', '.join(NAMES)}), opened_at and closes_at (microseconds).")
        await self._desk.do("open_window", asked["source"], *times)
        self._windows.put(asked["source"], asked["closes_at"])
        answer = {"source": asked["source"], "closes_at": iso(asked["closes_at"])}
        return Response(orjson.dumps(answer), media_type="application/json")

    async def replace_customers(self, request: Request) -> Response:
        """Take `{"list_id", "imported_at", "rows": [[user code, document], ...]}` and serve that list from now on."""
        self._check(request)
        asked = _read_object(await request.body())
        rows = asked.get("rows")
        whole = isinstance(rows, list) and all(isinstance(row, list) and list(map(type, row)) == [str, str] for row in rows)
        if not whole or not isinstance(asked.get("list_id"), str) or not isinstance(asked.get("imported_at"), int):
            raise UnexpectedShape("Expected list_id, imported_at (microseconds) and rows of user code and document.")
        served = await self._desk.do("replace_customers", asked["list_id"], asked["imported_at"], rows)
        return Response(orjson.dumps({"customers": served}), media_type="application/json")

    def _check(self, request: Request) -> None:
        if not self._tokens:
            raise NotFound("There is nothing at this path.")
        sent = tuple(value.encode("latin-1") for value in request.headers.getlist("authorization"))
        match_bearer(self._tokens, sent)


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UnexpectedShape("Expected a JSON object.") from None
    if not isinstance(asked, dict):
        raise UnexpectedShape("Expected a JSON object.")
    return asked
