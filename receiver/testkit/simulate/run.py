"""One run: a HEAD request, the traffic, the same messages again, and the probes of the final states."""

import asyncio
from time import monotonic
from typing import NamedTuple

from receiver.errors import ReceiverError
from receiver.testkit.http import HttpClient, HttpReply, NoReply, Problem, Reply
from receiver.testkit.marking import NotMarked, is_taken_as_real
from receiver.testkit.ops_client import OpsClient, find_root
from receiver.testkit.ship24 import TIMEOUT_SECONDS
from receiver.testkit.simulate.comparison import Compared, StateReader
from receiver.testkit.simulate.ledger import AttemptLog
from receiver.testkit.simulate.records import TrafficPlan
from receiver.testkit.simulate.sender import OnProgress, Sender, SimulationTarget, origin_of, post, probe

_WORTH_A_RETRY = {408, 425, 429}


class DeliveryRejected(ReceiverError):
    """The receiver rejects a valid delivery, so it would reject all of them."""


class NoServer(ReceiverError):
    """There is no server at the URL."""


class SimulationOptions(NamedTuple):
    """What to do besides the plan: compare with the ops API, with this token; send a test call from another address."""

    ops_token: str | None = None
    test_call_from: str | None = None

    def __repr__(self) -> str:
        return "SimulationOptions()"


class SimulationResult(NamedTuple):
    """The result of a run. `head` and `test_call` are statuses or problems; `compared` is None where nothing was compared."""

    ledger: AttemptLog
    head: str
    test_call: str | None
    compared: Compared | None
    seconds: float
    interrupted: bool


def run(plan: TrafficPlan, target: SimulationTarget, options: SimulationOptions, on_progress: OnProgress) -> SimulationResult:
    """Send everything. Raises NoServer, DeliveryRejected, NotMarked or OpsRefused before the traffic. Ctrl-C ends the traffic."""
    return asyncio.run(_run(plan, target, options, on_progress))


async def _run(
    plan: TrafficPlan, target: SimulationTarget, options: SimulationOptions, on_progress: OnProgress
) -> SimulationResult:
    ledger = AttemptLog(plan)
    async with HttpClient(target.timeout_seconds) as client:
        head = await _probe_receiver(client, target, plan)
        test = await _call_from(options.test_call_from, client, target, plan) if options.test_call_from else None
        ops = None
        if options.ops_token is not None:
            root = find_root(target.urls[plan.kind(plan.hello)])
            ops = StateReader(OpsClient(root, options.ops_token, client.connect()))
            await ops.probe()
        sender = Sender(plan, target, ledger, client)
        try:
            seconds, compared, interrupted = await _send_all(plan, sender, ops, on_progress)
        finally:
            await sender.close()
        return SimulationResult(ledger, head, test, compared, seconds, interrupted)


async def _send_all(
    plan: TrafficPlan, sender: Sender, ops: StateReader | None, on_progress: OnProgress
) -> tuple[float, Compared | None, bool]:
    """Go through the phases; return the seconds of the traffic, what was compared, and whether Ctrl-C ended it."""
    began, seconds, compared = monotonic(), 0.0, None
    try:
        await sender.send(plan.traffic, on_progress)
        seconds = monotonic() - began
        if not sender.was_accepted():
            return seconds, None, False  # every attempt at every delivery failed
        await sender.send(plan.resend, on_progress)
        if ops is not None:
            compared = await ops.compare(plan, on_progress)  # before the probes, which change the trackers
        await sender.send(plan.older, on_progress)
        await sender.send(plan.newer, on_progress)
    except (KeyboardInterrupt, asyncio.CancelledError):  # Ctrl-C cancels the task
        return seconds or monotonic() - began, compared, True
    return seconds, compared, False


async def _probe_receiver(client: HttpClient, target: SimulationTarget, plan: TrafficPlan) -> str:
    """Send HEAD and one delivery, to find a wrong URL or token before the traffic; return the result of HEAD.

    Raises NoServer, NotMarked or DeliveryRejected.
    """
    url = target.urls[plan.kind(plan.hello)]
    connection = client.connect()
    head = await probe(connection, url, target.marker)
    if target.marker is None or isinstance(head, HttpReply):  # otherwise nothing confirms the mark
        hello = await post(connection, target, plan, plan.hello)
        if isinstance(hello, NoReply) and hello.was_kept:
            hello = await post(connection, target, plan, plan.hello)
    else:
        hello = head
    if is_taken_as_real(target.marker, hello):
        raise NotMarked
    if isinstance(head, NoReply) and isinstance(hello, NoReply):
        raise NoServer(f"No response from {origin_of(url)} {_NO_SERVER[hello.problem]}.")
    status = hello.status if isinstance(hello, HttpReply) else None
    if status is not None and 300 <= status < 500 and status not in _WORTH_A_RETRY:
        raise DeliveryRejected(f"The receiver answers {status} to a valid delivery: {_WHY.get(status, 'expected a 2xx')}.")
    return _describe(head)


_NO_SERVER: dict[Problem, str] = {
    "timeout": f"within {TIMEOUT_SECONDS:g} s",
    "connection": "(no connection, or not HTTP)",
    "certificate": "with a trusted certificate (SSL_CERT_FILE can name others)",
}
_WHY = {
    401: "it does not know the token",
    403: "it does not accept this address or this token",
    404: "there is no webhook at this path, or its source is off",
    405: "this path takes no POST",
    **dict.fromkeys((301, 302, 303, 307, 308), "senders follow no redirect; give the URL that it leads to"),
}


async def _call_from(address: str, client: HttpClient, target: SimulationTarget, plan: TrafficPlan) -> str:
    """Send the test call of the dashboard, which comes from another address than real deliveries."""
    return _describe(await post(client.connect(address), target, plan, plan.test))


def _describe(reply: Reply) -> str:
    return reply.problem if isinstance(reply, NoReply) else str(reply.status)
