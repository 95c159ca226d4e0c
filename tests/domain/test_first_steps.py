"""The steps to the first message; the time is a parameter."""

from typing import Any

from receiver.domain.first_steps import SourceSetup, list_first_steps
from tests.harness.table import each_row

HOUR = 3600 * 1_000_000
NOW = 1000 * HOUR


def setup(**given: Any) -> SourceSetup:
    nothing = {"deliveries": 0, "has_accepted": False, "is_limited": True, "window_closes_at": 0}
    return SourceSetup("ship24", ("http://localhost/webhooks/ship24",), **(nothing | given))


@each_row(
    ("sources", "done"),
    [
        ([], ""),
        ([setup()], "secret"),
        ([setup(deliveries=1)], "address secret"),
        ([setup(window_closes_at=NOW + 1)], "secret window"),
        ([setup(window_closes_at=NOW)], "secret"),
        ([setup(is_limited=False)], "secret window"),
        ([setup(), setup(is_limited=False, deliveries=2)], "address secret window"),
        ([setup(deliveries=1, has_accepted=True)], "address secret window message"),
        ([setup(has_accepted=True)], "address secret window message"),  # its deliveries are older than the time range
    ],
)
def test_a_step_is_done_as_soon_as_its_sign_is_there(sources: list[SourceSetup], done: str) -> None:
    steps = list_first_steps(sources, None, NOW)
    assert [step.name for step in steps] == ["address", "secret", "window", "message"]
    assert " ".join(step.name for step in steps if step.is_done) == done


@each_row(("first", "is_shown"), [(None, True), (NOW, True), (NOW - 2 * HOUR, True), (NOW - 2 * HOUR - 1, False)])
def test_the_steps_stay_for_a_while_after_the_first_delivery(first: int | None, is_shown: bool) -> None:
    assert bool(list_first_steps([setup(has_accepted=first is not None)], first, NOW)) == is_shown
