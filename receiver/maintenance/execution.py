"""The types of the functions that a use case gets from its caller, so that it knows no process, thread or operator."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from receiver.domain.rows import AuditRow

RunQuery = Callable[..., Awaitable[Any]]
"""Runs a query with its arguments and returns its result; in a service, in a thread beside the event loop."""

MakeEntry = Callable[[datetime, str, str, str | None], AuditRow]
"""Makes an audit entry of a time, an action, its subject and a detail. The caller adds the operator."""
