"""The handler that a user would write instead: FastAPI and SQLModel, a session and a commit for each request.

It is a careful one. The token is compared in constant time, a message is kept once, a tracker moves only forward, and both
databases are set up as their documentation advises: SQLite with a write-ahead log, synced commits, a busy timeout and
transactions that take the write lock at their start (otherwise one of two that read first fails); PostgreSQL with locked
rows. The loser of a race tries again.
"""

import hmac
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException
from sqlalchemy import JSON, Column, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import Field, Session, SQLModel, create_engine

_ATTEMPTS = 5


class Message(SQLModel, table=True):
    """A message that was kept, whole."""

    message_id: str = Field(primary_key=True)
    tracker_id: str = Field(index=True)
    outcome: str
    received_at: datetime
    payload: dict[str, Any] = Field(sa_column=Column(JSON))


class Tracker(SQLModel, table=True):
    """The present state of a tracker."""

    tracker_id: str = Field(primary_key=True)
    tracking_number: str = Field(index=True)
    status: str | None
    status_code: str | None
    status_milestone: str | None
    location: str | None
    latest_occurrence: str
    latest_order: int


def make_engine(url: str) -> Engine:
    """Return an engine: on SQLite with one connection, for which threads wait in turn, since only one could write anyway."""
    if not url.startswith("sqlite"):
        return create_engine(url, pool_size=10, max_overflow=0)
    engine = create_engine(url, pool_size=1, max_overflow=0, connect_args={"check_same_thread": False, "timeout": 30})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


engine = make_engine(os.environ["DATABASE_URL"])
token = os.environ["TOKEN"]
app = FastAPI()


def open_session() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


async def check_token(authorization: Annotated[str, Header()] = "") -> None:
    if not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})


@app.post("/webhooks/ship24", dependencies=[Depends(check_token)])
def receive(body: dict[str, list[dict[str, Any]]], session: Annotated[Session, Depends(open_session)]) -> dict[str, int]:
    """Store each item once and move its tracker forward; one commit for the delivery."""
    for _ in range(_ATTEMPTS):
        try:
            outcomes = [keep(session, item) for item in body["trackings"]]
            session.commit()
        except IntegrityError:  # another request inserted the key first
            session.rollback()
        else:
            return {outcome: outcomes.count(outcome) for outcome in ("applied", "stale", "duplicate")}
    raise HTTPException(503)


def keep(session: Session, item: dict[str, Any]) -> str:
    message_id = item["metadata"]["messageId"]
    if session.get(Message, message_id) is not None:
        return "duplicate"
    applied = [move(session, item, happened) for happened in item["events"]]
    outcome = "applied" if any(applied) else "stale"
    session.add(
        Message(
            message_id=message_id,
            tracker_id=item["tracker"]["trackerId"],
            outcome=outcome,
            received_at=datetime.now(UTC),
            payload=item,
        )
    )
    return outcome


def move(session: Session, item: dict[str, Any], happened: dict[str, Any]) -> bool:
    """Move the tracker to this event if it is newer than its latest."""
    tracker_id = item["tracker"]["trackerId"]
    tracker = session.get(Tracker, tracker_id, with_for_update=True)
    state = {
        "status": happened["status"],
        "status_code": happened["statusCode"],
        "status_milestone": happened["statusMilestone"],
        "location": happened["location"],
        "latest_occurrence": happened["occurrenceDatetime"],
        "latest_order": happened["order"],
    }
    if tracker is None:
        session.add(Tracker(tracker_id=tracker_id, tracking_number=item["tracker"]["trackingNumber"], **state))
        return True
    if not is_newer(happened, tracker):
        return False
    tracker.sqlmodel_update(state)
    return True


def is_newer(happened: dict[str, Any], tracker: Tracker) -> bool:
    candidate = datetime.fromisoformat(happened["occurrenceDatetime"]), happened["order"]
    return bool(candidate > (datetime.fromisoformat(tracker.latest_occurrence), tracker.latest_order))


if __name__ == "__main__":
    SQLModel.metadata.create_all(engine)
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=False, log_level="warning")
