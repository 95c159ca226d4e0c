"""Liveness (the process serves) and readiness (a delivery would be stored). Neither shows details to outsiders."""

import asyncio
import shutil
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.domain.alarms import Disk
from receiver.errors import ReceiverError
from receiver.monitoring.cached import Cached
from receiver.storage.database import Database
from receiver.storage.version import is_served
from receiver.writer.client import WriterClient

_MIN_FREE_BYTES = 256 * 1024 * 1024
_MIN_FREE_SHARE = 0.02
_TIMEOUT_SECONDS = 5


class Health:
    """The endpoints `/healthz` and `/readyz`."""

    def __init__(
        self,
        database: Database,
        writer_client: WriterClient,
        alarms: Callable[[], Iterable[Mapping[str, Any]]],
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._database = database
        self._writer_client = writer_client
        self._alarms = alarms
        self._storage = Cached(self._read_storage, now=now)

    def routes(self) -> list[Route]:
        """Return both routes."""
        return [Route("/healthz", self.healthz), Route("/readyz", self.readyz)]

    async def healthz(self, _request: Request) -> Response:
        """Return 200 while the process serves."""
        return Response(b'{"status":"ok"}', media_type="application/json")

    async def readyz(self, _request: Request) -> Response:
        """Return 200 if every check passes, else 503. Alarms that lose no delivery are warnings, given by name only."""
        checks = await self.read_checks()
        ready = all(checks.values())
        answer: dict[str, Any] = {
            "status": "ready" if ready else "unavailable",
            "checks": {name: {"ok": ok} for name, ok in checks.items()},
            "warnings": sorted({alarm["name"] for alarm in self._alarms()}),
        }
        return Response(orjson.dumps(answer), 200 if ready else 503, media_type="application/json")

    async def read_checks(self) -> dict[str, bool]:
        """Return whether each check passes, by its name. Those of the database are a second old at most."""
        return await self._storage.get() | self._writer_client.health()

    async def _read_storage(self) -> dict[str, bool]:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await asyncio.to_thread(self._check_storage)
        except TimeoutError:
            return {"database": False}

    def _check_storage(self) -> dict[str, bool]:
        checks = {"database": True, "disk": has_room(self._database)}
        try:
            with self._database.read() as connection:
                checks["schema"] = is_served(connection)
        except ReceiverError:
            checks["database"] = False
        return checks


def has_room(database: Database) -> bool:
    """Return whether the disk of an embedded database has free space. A database server watches its own disk."""
    disk = read_disk(database)
    if disk is None:
        return database.path is None
    return disk.free_bytes > min(_MIN_FREE_BYTES, disk.total_bytes * _MIN_FREE_SHARE)


def read_disk(database: Database) -> Disk | None:
    """Return the disk space of an embedded database; None for a server, or if the folder is gone."""
    if database.path is None:
        return None
    try:
        usage = shutil.disk_usage(database.path.parent)
    except OSError:
        return None
    return Disk(usage.free, usage.total)
