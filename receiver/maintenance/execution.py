"""Functions that a use case gets from its caller: it knows no process, no thread and no operator."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from receiver.domain.rows import AuditRow

RunQuery = Callable[..., Awaitable[Any]]
"""Calls a query with its arguments, in a thread where there is an event loop to keep free, and returns its result."""

MakeEntry = Callable[[datetime, str, str, str | None], AuditRow]
"""Makes an audit entry of a time, an action, its subject and a detail; the caller knows who the operator is."""
