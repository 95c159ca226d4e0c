"""The plan of a run. Pure: seed, run and shape decide every byte, and of the run only its digits stand in the bytes."""

from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from receiver.simulation.lives import Names
from receiver.simulation.records import Call, Message, Plan, Shape, Tracker
from receiver.simulation.shiipp import Shiipp
from receiver.simulation.ship24 import Ship24
from receiver.simulation.traffic import draw_sizes, lay_again, lay_traffic

_AT_ONCE = 8  # parcels under way at a time
_PROBES = (900_001, 900_003)  # parcels of their own


class _Story(NamedTuple):
    """A life or a subject, with what is told of it."""

    subject: Any
    told: list[Any]


def make_plan(source: str, seed: int, run: str, shape: Shape) -> Plan:
    """Return what to send; `run` are eight hexadecimal digits that no other run on the same database has."""
    rng = Random(f"{seed}:{source}")  # noqa: S311  it must be the same again
    names = Names(run, rng)
    author: Ship24 | Shiipp = Ship24(rng, names) if source == "ship24" else Shiipp(rng, names)
    sizes = draw_sizes(rng, shape)
    first, last = (author.draw(number, 1) for number in _PROBES)  # the two messages that ask whether one may come in
    stories = list(_draw(author, sum(sizes)))
    messages = list(_weave(rng, stories))
    traffic = lay_traffic(rng, messages, sizes, shape)
    resend = lay_again(rng, "resend", messages, range(len(messages)), shape)
    trackers = [_ask(author, story, place, messages) for place, story in enumerate(stories)]
    messages += [_message(_Story(*drawn), -1, drawn[1][0]) for drawn in (first, last)]
    older, newer = ([number for number in asked if number is not None] for asked in zip(*(t[1:] for t in trackers), strict=True))
    return Plan(
        source,
        tuple(trackers),
        tuple(messages),
        Call("hello", 0, 0.0, (len(messages) - 2,)),
        Call("test", 0, 0.0, (len(messages) - 1,)),
        traffic,
        resend,
        lay_again(rng, "older", messages, older, shape),
        lay_again(rng, "newer", messages, newer, shape),
    )


def _draw(author: Ship24 | Shiipp, room: int) -> Iterator[_Story]:
    number = 0
    while room:
        story = _Story(*author.draw(number, room))
        room -= len(story.told)
        number += 1
        yield story


def _weave(rng: Random, stories: list[_Story]) -> Iterator[Message]:
    """Give the messages of several parcels in turn, those of each in their order."""
    waiting = [(place, story, iter(story.told)) for place, story in enumerate(stories)][::-1]
    under_way: list[Any] = []
    while waiting or under_way:
        while waiting and len(under_way) < _AT_ONCE:
            under_way.append(waiting.pop())
        chosen = rng.randrange(len(under_way))
        place, story, rest = under_way[chosen]
        told = next(rest, None)
        if told is None:
            under_way.pop(chosen)
        else:
            yield _message(story, place, told)


def _message(story: _Story, tracker: int, told: Any) -> Message:
    return Message(told.id, getattr(story.subject, "kind", "tracking"), told.item, tracker, told.echoed)


def _ask(author: Any, story: _Story, place: int, messages: list[Message]) -> Tracker:
    """Return a tracker with the questions that ask for its state; they join the messages."""
    truth = author.truth(story.subject, story.told)
    if truth is None:
        return Tracker(truth, None, None)
    asked: list[int | None] = []
    for steps in (-1, 1):
        told = author.ask(story.subject, truth, steps)
        if told is not None:
            messages.append(_message(story, place, told))
        asked.append(len(messages) - 1 if told is not None else None)
    return Tracker(truth, *asked)
