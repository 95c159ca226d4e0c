"""The plan of a run. Pure: it depends on seed, run and shape only, down to the bytes."""

from collections.abc import Iterator
from itertools import count
from random import Random

from receiver.testkit.simulate.journeys import IdGenerator
from receiver.testkit.simulate.records import (
    PlannedDelivery,
    PlannedMessage,
    PlannedTracker,
    SentMessage,
    TrackerScript,
    TrafficPlan,
    TrafficShape,
)
from receiver.testkit.simulate.shiipp import Shiipp
from receiver.testkit.simulate.ship24 import Ship24
from receiver.testkit.simulate.traffic import arrange_again, arrange_traffic, draw_sizes

_AT_ONCE = 8  # trackers in progress at a time
_PROBES = (900_001, 900_003)  # trackers with one message each, sent before the traffic
_NONE = -1  # the number of a tracker outside the plan


def make_plan(source: str, seed: int, run: str, shape: TrafficShape) -> TrafficPlan:
    """Return the plan. `run` is eight hexadecimal digits that no other run on the same database uses."""
    rng = Random(f"{seed}:{source}")  # noqa: S311  it must be the same again
    names = IdGenerator(run, rng)
    author = Ship24(rng, names) if source == "ship24" else Shiipp(rng, names)
    sizes = draw_sizes(rng, shape)
    probes = [PlannedMessage(author.write(number, 1).messages[0], _NONE) for number in _PROBES]
    scripts = list(_draw(author, sum(sizes)))
    messages = list(_interleave(rng, scripts))
    traffic = arrange_traffic(rng, messages, sizes, shape)
    resend = arrange_again(rng, "resend", messages, range(len(messages)), shape)
    trackers = [_plan_tracker(script, index, messages) for index, script in enumerate(scripts)]
    older = [tracker.older for tracker in trackers if tracker.older is not None]
    newer = [tracker.newer for tracker in trackers if tracker.newer is not None]
    return TrafficPlan(
        source,
        tuple(trackers),
        (*messages, *probes),
        PlannedDelivery("hello", 0, 0.0, (len(messages),)),
        PlannedDelivery("test", 0, 0.0, (len(messages) + 1,)),
        traffic,
        resend,
        arrange_again(rng, "older", messages, older, shape),
        arrange_again(rng, "newer", messages, newer, shape),
    )


def _draw(author: Ship24 | Shiipp, room: int) -> Iterator[TrackerScript]:
    """Yield scripts until they have `room` messages."""
    for number in count():
        if not room:
            return
        script = author.write(number, room)
        room -= len(script.messages)
        yield script


def _interleave(rng: Random, scripts: list[TrackerScript]) -> Iterator[PlannedMessage]:
    """Yield the messages of several trackers in turn, those of each tracker in order."""
    waiting = [(index, iter(script.messages)) for index, script in enumerate(scripts)][::-1]
    in_progress: list[tuple[int, Iterator[SentMessage]]] = []
    while waiting or in_progress:
        while waiting and len(in_progress) < _AT_ONCE:
            in_progress.append(waiting.pop())
        chosen = rng.randrange(len(in_progress))
        index, rest = in_progress[chosen]
        message = next(rest, None)
        if message is None:
            in_progress.pop(chosen)
        else:
            yield PlannedMessage(message, index)


def _plan_tracker(script: TrackerScript, index: int, messages: list[PlannedMessage]) -> PlannedTracker:
    """Return a tracker with its probes, which are added to the messages."""
    numbers: list[int | None] = []
    for probe in (script.older, script.newer):
        numbers.append(len(messages) if probe is not None else None)
        messages += [PlannedMessage(probe, index)] if probe is not None else []
    return PlannedTracker(script.expected, *numbers)
