"""Arranges messages in deliveries: late ones, groups, copies, and the moment at which each delivery is due. Pure."""

from collections import deque
from collections.abc import Sequence
from random import Random

from receiver.testkit.simulate.records import Phase, PlannedDelivery, PlannedMessage, TrafficShape

_LATE_MESSAGES = 60  # that overtake a late message, on average
_COPY_SLOTS = 40  # deliveries between an original and its copy, at most


def draw_sizes(rng: Random, shape: TrafficShape) -> list[int]:
    """Return the number of messages in each delivery that is not a copy."""
    return [rng.randint(1, shape.group) for _ in range(shape.calls - int(shape.calls * shape.duplicates / 100))]


def arrange_traffic(
    rng: Random, messages: Sequence[PlannedMessage], sizes: Sequence[int], shape: TrafficShape
) -> tuple[PlannedDelivery, ...]:
    """Return the deliveries of the traffic, in the order in which they are due.

    Half of the copies are due together with their original; the others later, with their messages in another order.
    """
    groups = _group(rng, messages, sizes, _delay(rng, len(messages), shape.reorder / 100))
    slots: list[tuple[float, tuple[int, ...], bool]] = [(float(position), group, False) for position, group in enumerate(groups)]
    copied = rng.sample(range(len(groups)), min(len(groups), max(0, shape.calls - len(groups))))
    for copy, position in enumerate(copied):
        together = copy % 2 == 0
        behind = 0.25 if together else rng.randint(1, _COPY_SLOTS) + 0.5
        group = groups[position] if together else tuple(rng.sample(groups[position], len(groups[position])))
        slots.append((position + behind, group, together))
    deliveries: list[PlannedDelivery] = []
    for number, (_, group, together) in enumerate(sorted(slots, key=lambda slot: slot[0])):
        due = deliveries[-1].due_seconds if together and deliveries else number / shape.rate
        deliveries.append(PlannedDelivery("traffic", number, due, group))
    return tuple(deliveries)


def arrange_again(
    rng: Random, phase: Phase, messages: Sequence[PlannedMessage], numbers: Sequence[int], shape: TrafficShape
) -> tuple[PlannedDelivery, ...]:
    """Return deliveries of these messages in random order, in new groups."""
    sizes = [shape.group] * len(numbers)
    shuffled = rng.sample(list(numbers), len(numbers))
    groups = _group(rng, messages, sizes, shuffled)
    return tuple(PlannedDelivery(phase, number, number / shape.rate, group) for number, group in enumerate(groups))


def _delay(rng: Random, count: int, share: float) -> list[int]:
    """Return the numbers of all messages in the order of sending: a share of them is late."""
    positions = [position + (rng.expovariate(1 / _LATE_MESSAGES) if rng.random() < share else 0.0) for position in range(count)]
    return sorted(range(count), key=positions.__getitem__)


def _group(rng: Random, messages: Sequence[PlannedMessage], sizes: Sequence[int], order: Sequence[int]) -> list[tuple[int, ...]]:
    """Return groups of messages of one kind. In half of them newer messages are before older ones."""
    waiting: dict[str, deque[int]] = {}
    for number in order:
        waiting.setdefault(messages[number].sent.kind, deque()).append(number)
    ranks = {number: rank for rank, number in enumerate(order)}
    groups: list[tuple[int, ...]] = []
    while waiting:
        kind = min(waiting, key=lambda each: ranks[waiting[each][0]])
        queue = waiting[kind]
        size = sizes[len(groups)] if len(groups) < len(sizes) else 1
        group = [queue.popleft() for _ in range(min(size, len(queue)))]
        if not queue:
            del waiting[kind]
        groups.append(tuple(sorted(group, reverse=True) if rng.random() < 0.5 else group))
    return groups
