"""A host of its own: a network namespace with one address that can go silent as a host without power does."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


class NoIsolatedHost(Exception):
    """This machine or this user cannot make one; the message says why."""


class IsolatedHost:
    """A network of this machine beside its own; programs run there with `prefix` before their command.

    `address` is its own address, `neighbour` that of this machine as seen from there.
    """

    def __init__(self, number: int) -> None:
        self._name = f"receiver-{number}"
        self._wire = f"rcv{number}"
        self.neighbour = f"10.213.{number // 64}.{number % 64 * 4 + 1}"
        self.address = f"10.213.{number // 64}.{number % 64 * 4 + 2}"
        self.prefix = ("ip", "netns", "exec", self._name)

    def make(self) -> None:
        """Make the network and the wire to it."""
        _ip("netns", "add", self._name)
        inside = ("-n", self._name)
        _ip("link", "add", self._wire, "type", "veth", "peer", "name", "wire", "netns", self._name)
        _ip("addr", "add", f"{self.neighbour}/30", "dev", self._wire)
        _ip("link", "set", self._wire, "up")
        _ip(*inside, "addr", "add", f"{self.address}/30", "dev", "wire")
        _ip(*inside, "link", "set", "wire", "up")
        _ip(*inside, "link", "set", "lo", "up")

    def vanish(self) -> None:
        """Answer nothing any more, not even with a reset."""
        _ip("-n", self._name, "route", "add", "blackhole", f"{self.neighbour}/32")

    def come_back(self) -> None:
        """Answer again, with everything that still runs there."""
        _ip("-n", self._name, "route", "del", "blackhole", f"{self.neighbour}/32")

    def remove(self) -> None:
        """Remove it; what still runs there keeps a network that leads nowhere."""
        subprocess.run(["ip", "netns", "del", self._name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self._wire], capture_output=True, check=False)


@contextmanager
def isolated_host() -> Iterator[IsolatedHost]:
    """Give a network that is removed with the block. Raises NoIsolatedHost."""
    made = IsolatedHost(os.getpid() % 10_000)
    made.remove()  # what tests that were killed may have left
    try:
        made.make()
        yield made
    finally:
        made.remove()


def _ip(*arguments: str) -> None:
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NoIsolatedHost("there is no ip command") from None
    if done.returncode != 0:
        raise NoIsolatedHost(f"no network namespace can be made here ({done.stderr.strip()})")
