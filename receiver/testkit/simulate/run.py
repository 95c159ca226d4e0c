"""One run: may one come in, the traffic, everything again, and the questions about the end."""

from time import monotonic
from typing import NamedTuple

from receiver.errors import ReceiverError
from receiver.testkit.simulate.ledger import AttemptLog
from receiver.testkit.simulate.records import TrafficPlan
from receiver.testkit.simulate.sender import TIMEOUT_SECONDS, Sender, SimulationTarget, Tell, origin_of, path_of, post
from receiver.testkit.simulate.truth import Compared, StateReader
from receiver.testkit.simulate.wire import Problem, WirePool, WireReply

_USER_AGENT = {"user-agent": "receiver-simulate"}
_WORTH_A_RETRY = {408, 425, 429}


class NotLetIn(ReceiverError):
    """The receiver refuses us as such, so that every call would be refused."""


class NobodyThere(ReceiverError):
    """Nothing answers at the URL."""


class SimulationOptions(NamedTuple):
    """What to do besides the plan: compare with the ops API (with this token), and call from another address."""

    ops_token: str | None = None
    test_call_from: str | None = None

    def __repr__(self) -> str:
        return "Order()"


class SimulationResult(NamedTuple):
    """What came of a run. `head` and `test_call` are statuses or problems; `compared` is None where nothing was compared."""

    ledger: AttemptLog
    head: str
    test_call: str | None
    compared: Compared | None
    seconds: float
    interrupted: bool


def run(plan: TrafficPlan, target: SimulationTarget, order: SimulationOptions, tell: Tell) -> SimulationResult:
    """Send it all. Raises NobodyThere, NotLetIn or OpsRefused before the traffic. Ctrl-C ends the traffic."""
    watch, ledger = WirePool(), AttemptLog(plan)
    try:
        first = target.urls[plan.kind(plan.hello)]
        ops = StateReader(first, order.ops_token, watch) if order.ops_token is not None else None
        head = _ask_in(watch, target, plan)
        test = _call_from(order.test_call_from, watch, target, plan) if order.test_call_from else None
        if ops is not None:
            ops.probe()
        sender = Sender(plan, target, ledger, watch)
        try:
            seconds, compared, interrupted = _send_all(plan, sender, ops, tell)
        finally:
            sender.close()
        return SimulationResult(ledger, head, test, compared, seconds, interrupted)
    finally:
        watch.close()


def _send_all(plan: TrafficPlan, sender: Sender, ops: StateReader | None, tell: Tell) -> tuple[float, Compared | None, bool]:
    """Go through the phases; return how long the traffic took, what was compared, and whether Ctrl-C ended it."""
    begun, seconds, compared = monotonic(), 0.0, None
    try:
        sender.send(plan.traffic, tell)
        seconds = monotonic() - begun
        if not sender.was_accepted():
            return seconds, None, False  # twenty times each is enough
        sender.send(plan.resend, tell)
        if ops is not None:
            compared = ops.compare(plan, tell)  # before the questions, which move the trackers
        sender.send(plan.older, tell)
        sender.send(plan.newer, tell)
    except KeyboardInterrupt:
        return seconds or monotonic() - begun, compared, True
    return seconds, compared, False


def _ask_in(watch: WirePool, target: SimulationTarget, plan: TrafficPlan) -> str:
    """Ask with HEAD and without a token, as Ship24 does before it lets a URL be saved; return what came of it. Then send one
    message: that it is refused is not tried twenty times with each of thousands.
    """
    url = target.urls[plan.kind(plan.hello)]
    wire = watch.wire(url, target.timeout_seconds)
    head = wire.call("HEAD", path_of(url), _USER_AGENT)
    hello = post(wire, target, plan, plan.hello)
    if head.status is None and hello.problem is not None:
        raise NobodyThere(f"Nobody answers at {origin_of(url)} {_NOBODY[hello.problem]}.")
    status = hello.status
    if status is not None and 300 <= status < 500 and status not in _WORTH_A_RETRY:
        raise NotLetIn(f"The receiver answers {status} to a good call: {_WHY.get(status, 'expected a 2xx')}.")
    return _say(head)


_NOBODY: dict[Problem, str] = {
    "timeout": f"within {TIMEOUT_SECONDS:g} s",
    "connection": "(no connection, or it speaks something else)",
    "certificate": "with a certificate that is trusted here (SSL_CERT_FILE may name others)",
}
_WHY = {
    401: "the token is not one of its own",
    403: "it does not let this address or this token in",
    404: "there is no webhook at this path, or its source is off",
    405: "this path takes no POST",
    **dict.fromkeys((301, 302, 303, 307, 308), "senders follow no redirect; give the URL it leads to"),
}


def _call_from(address: str, watch: WirePool, target: SimulationTarget, plan: TrafficPlan) -> str:
    """Make the test call of the dashboard, which comes from another address than the real ones."""
    url = target.urls[plan.kind(plan.test)]
    return _say(post(watch.wire(url, target.timeout_seconds, address), target, plan, plan.test))


def _say(reply: WireReply) -> str:
    return str(reply.status or reply.problem)
