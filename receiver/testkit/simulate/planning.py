"""The plan of a run. Pure: seed, run and shape decide every byte, and of the run only its digits stand in the bytes."""

from collections.abc import Iterator
from itertools import count
from random import Random

from receiver.testkit.simulate.lives import Names
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
from receiver.testkit.simulate.traffic import draw_sizes, lay_again, lay_traffic

_AT_ONCE = 8  # trackers under way at a time
_PROBES = (900_001, 900_003)  # trackers of their own, of which one message is sent before the traffic
_NONE = -1  # the place of a tracker that is none of the plan's


def make_plan(source: str, seed: int, run: str, shape: TrafficShape) -> TrafficPlan:
    """Return what to send; `run` are eight hexadecimal digits that no other run on the same database has."""
    rng = Random(f"{seed}:{source}")  # noqa: S311  it must be the same again
    names = Names(run, rng)
    author = Ship24(rng, names) if source == "ship24" else Shiipp(rng, names)
    sizes = draw_sizes(rng, shape)
    probes = [PlannedMessage(author.tell(number, 1).told[0], _NONE) for number in _PROBES]
    stories = list(_draw(author, sum(sizes)))
    messages = list(_weave(rng, stories))
    traffic = lay_traffic(rng, messages, sizes, shape)
    resend = lay_again(rng, "resend", messages, range(len(messages)), shape)
    trackers = [_ask(story, place, messages) for place, story in enumerate(stories)]
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
        lay_again(rng, "older", messages, older, shape),
        lay_again(rng, "newer", messages, newer, shape),
    )


def _draw(author: Ship24 | Shiipp, room: int) -> Iterator[TrackerScript]:
    """Give stories until they have so many messages."""
    for number in count():
        if not room:
            return
        story = author.tell(number, room)
        room -= len(story.told)
        yield story


def _weave(rng: Random, stories: list[TrackerScript]) -> Iterator[PlannedMessage]:
    """Give the messages of several trackers in turn, those of each in their order."""
    waiting = [(place, iter(story.told)) for place, story in enumerate(stories)][::-1]
    under_way: list[tuple[int, Iterator[SentMessage]]] = []
    while waiting or under_way:
        while waiting and len(under_way) < _AT_ONCE:
            under_way.append(waiting.pop())
        chosen = rng.randrange(len(under_way))
        place, rest = under_way[chosen]
        told = next(rest, None)
        if told is None:
            under_way.pop(chosen)
        else:
            yield PlannedMessage(told, place)


def _ask(story: TrackerScript, place: int, messages: list[PlannedMessage]) -> PlannedTracker:
    """Return a tracker with its questions, which join the messages."""
    numbers: list[int | None] = []
    for told in (story.older, story.newer):
        numbers.append(len(messages) if told is not None else None)
        messages += [PlannedMessage(told, place)] if told is not None else []
    return PlannedTracker(story.expected, *numbers)
