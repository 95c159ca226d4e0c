"""The records of the POST endpoints: an endpoint, a request, and the objects that carry out commands."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from receiver.access.operators import Operator
from receiver.access.setup_windows import SetupWindows
from receiver.domain.changes import TargetTestResult
from receiver.domain.notices import Notice
from receiver.maintenance.bring_in import DeliveryImport
from receiver.maintenance.erase import Eraser
from receiver.maintenance.execution import RunQuery
from receiver.maintenance.prune import Pruner
from receiver.maintenance.reconcile.jobs import ReconcileJobs
from receiver.maintenance.replay import StoredReplay
from receiver.monitoring.notifier import ChannelResult
from receiver.storage.database import Database
from receiver.web.api.bodies import CommandBody
from receiver.web.api.schemas.root import Schema
from receiver.writer.executor import Do


class CommandContext(NamedTuple):
    """The objects that carry out commands. `do` executes a command, `read` a query; `targets` are names in the settings."""

    do: Do
    read: RunQuery
    database: Database
    targets: list[str]
    windows: SetupWindows
    pruner: Pruner
    eraser: Eraser
    replayer: StoredReplay
    deliveries: DeliveryImport
    reconciliations: ReconcileJobs
    test_alarms: Callable[[Notice], list[ChannelResult]]
    test_target: Callable[[str], Awaitable[TargetTestResult]]


class OperatorRequest(NamedTuple):
    """One request: its operator, its body as a model (`reads_body`) or as bytes, and the values in its path."""

    operator: Operator
    body: Any
    path: Mapping[str, str]


class CommandEndpoint(NamedTuple):
    """One POST endpoint. Without `reads_body` the command gets the bytes of the body: it may be large, and is parsed elsewhere.

    `default` is read in place of an empty body.
    """

    path: str
    summary: str
    body: type[CommandBody]
    schema: type[Schema]
    command: Callable[[CommandContext, OperatorRequest], Awaitable[dict[str, Any]]]
    reads_body: bool = True
    default: bytes = b""
