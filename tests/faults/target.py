"""An HTTP target that checks every change it receives from relays that may be killed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from receiver.relay.target import AT_ONCE
from tests.faults.scenario import Result
from tests.harness.changes import SECRET, write_targets
from tests.harness.endpoint import TAKE, Call, Endpoint, Wire
from tests.harness.service import Process, Service, start_command, wait_until

_TAKING_SECONDS = 0.05  # as long as this takes a real one: there is always something under way
_PATIENCE_SECONDS = 60.0  # what is held is not tried again meanwhile


class ChangeTarget:
    """A target of the settings, and the relays that serve it."""

    def __init__(self, directory: Path) -> None:
        """Become the target of a service that is started in `directory`."""
        self.settings = {"target_secrets": f"shop:{SECRET}"}
        self._relays = 0
        self._open = Event()
        self._open.set()
        self._held: set[int] = set()
        self.endpoint = Endpoint(self._take, choose=None, tls=None)
        write_targets(directory, _PATIENCE_SECONDS, shop=self.endpoint.url)

    @contextmanager
    def relaying(self, service: Service) -> Iterator[Process]:
        """Run a relay of its own process beside a service until the block ends."""
        with (service.directory / "relay.log").open("ab") as log, Path(os.devnull).open("rb") as nothing:
            process = start_command("relay", cwd=service.directory, env=service.env, files=(nothing, log, log))
        self._relays += 1
        try:
            wait_until(lambda: self._log(service).count('"relay_started"') == self._relays, "the relay relays")
            yield process
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def holding(self, service: Service) -> Iterator[None]:
        """Answer nothing as long as the block lasts, which begins once all relays, the service's own too, have what they may.

        So no claim is being made in it. Of one whose answer was lost nobody would know, until its lease ends.
        """
        most, claimed = (1 + self._relays) * AT_ONCE, "SELECT count(*) FROM dispatches WHERE claim IS NOT NULL"
        self._open.clear()
        try:
            wait_until(lambda: len(self._held) == service.scalar(claimed) == most, "all relays have under way what they may")
            yield
        finally:
            self._open.set()

    def _take(self, call: Call, wire: Wire) -> bool:
        """Take a change, after a while."""
        if not self._open.is_set():
            self._held.add(call.connection)
            while not self._open.wait(_TAKING_SECONDS) and not wire.closing.is_set():
                pass
            self._held.discard(call.connection)
        return not wire.closing.wait(_TAKING_SECONDS) and TAKE(call, wire)

    def _log(self, service: Service) -> str:
        return (service.directory / "relay.log").read_text(encoding="utf-8")

    def wait_for_changes(self, number: int) -> None:
        """Wait until so many more changes came."""
        enough = len(self.endpoint.calls) + number
        wait_until(lambda: len(self.endpoint.calls) >= enough, f"{number} changes come")

    def judge(self, result: Result, service: Service, killed: int = 0) -> Result:
        """Wait until nothing waits any more, and add what became of the changes; `killed` relays may have repeated some."""
        wait_until(lambda: service.count("dispatches") == 0, "the target has every change", 150)
        rows = service.table("events", "tracker_id", "move", "change_id", outcome="applied")
        made = {row["change_id"]: (row["tracker_id"], row["move"]) for row in rows}
        lost = set(made) - {call.headers["webhook-id"] for call in self.endpoint.calls}
        repeated = len(self.endpoint.calls) - len(made) + len(lost)
        assert repeated <= killed * AT_ONCE, f"{repeated} changes came again; {AT_ONCE} are under way at once"
        told = f"{len(made):,} changes, {repeated} of them in flight came twice"
        note = f"{result.note}; {told}" if result.note else told
        return result._replace(lost=result.lost + len(lost), doubled=result.doubled + len(self._find_wrong(made)), note=note)

    def _find_wrong(self, made: dict[str, tuple[str, int]]) -> list[str]:
        """Return the changes that are unknown, have other content, or are out of order."""
        wrong, last, words = [], dict[str, int](), dict[str, bytes]()
        for call in self.endpoint.calls:
            name = call.headers["webhook-id"]
            tracker, move = made.get(name, ("", -1))
            before = last.get(tracker, 0)
            expected = move == before + 1 if name not in words else (move == before and words[name] == call.body)
            if not expected:
                wrong.append(name)
            last[tracker], words[name] = move, call.body
        return wrong


@contextmanager
def change_target(directory: Path) -> Iterator[ChangeTarget]:
    """Give a target that a service started in `directory` has as its target."""
    target = ChangeTarget(directory)
    try:
        yield target
    finally:
        target.endpoint.close()
