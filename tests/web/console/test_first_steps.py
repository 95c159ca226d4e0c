"""The steps to the first message on the overview."""

import re

from tests.harness import ship24
from tests.harness.console_client import ConsoleClient
from tests.harness.service import Service


def steps(anna: ConsoleClient) -> list[str]:
    return re.findall(r'class="step is-(\w+)"', anna.get("/ops").body.decode())


def test_the_steps_turn_green_and_name_the_address_of_this_service(running: Service, anna: ConsoleClient) -> None:
    shown = anna.get("/ops").body.decode()
    assert f"<code>{running.url}/webhooks/ship24</code>" in shown
    assert "RECEIVER_SHIP24_TOKENS" in shown
    before = steps(anna)
    assert (len(before), before[1], before[3]) == (4, "done", "open")
    assert running.post(ship24.single()).status == 200
    assert steps(anna) == ["done"] * 4


def test_a_stranger_does_not_choose_the_address(running: Service, anna: ConsoleClient) -> None:
    shown = anna.get("/ops", Host='x"><b>evil', X_Forwarded_Host="evil.example").body
    assert b"evil.example" not in shown
    assert b"<b>evil" not in shown
