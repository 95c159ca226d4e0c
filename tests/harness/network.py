"""Machines on one network: namespaces with their own addresses, or addresses of loopback where namespaces are not allowed.

A machine is a thread that has moved into a network namespace: what it starts, processes and threads, runs there, what
it connects comes from there. The namespaces have no names, so the kernel removes them with the last process in them, whatever
becomes of the tests. The machine that the tests run on gets no interface, address or route.
"""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Any, TypeVar

from tests.harness.ports import free_port

_T = TypeVar("_T")
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET

_BROKEN = (OSError, subprocess.CalledProcessError)


class Machine:
    """One machine; `addresses` are its own, the first one is where its services are found."""

    def __init__(self, name: str, addresses: tuple[str, ...], *, is_namespace: bool) -> None:
        self.name = name
        self.addresses = addresses
        self.is_namespace = is_namespace
        self._thread = ThreadPoolExecutor(1, name)
        self._number = self._thread.submit(threading.get_native_id).result()
        self.path = f"/proc/{os.getpid()}/task/{self._number}/ns/net"

    @property
    def address(self) -> str:
        return self.addresses[0]

    def unshare(self) -> None:
        """Move into a new namespace. Raises OSError where that is not allowed."""
        self.do(lambda: _check(_libc().unshare(_NEW_NETWORK)))

    def do(self, work: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
        """Call something on this machine, and return its result."""
        if threading.get_native_id() == self._number:
            return work(*arguments, **named)
        return self._thread.submit(work, *arguments, **named).result()

    def run(self, command: Sequence[str], output: IO[bytes], **given: Any) -> "subprocess.Popen[bytes]":
        """Start a process on this machine."""
        return self.do(lambda: subprocess.Popen(command, stdout=output, stderr=output, **given))

    def port(self, usual: int) -> int:
        """Return the usual port of a service, or, where machines share their ports, one that is free."""
        return usual if self.is_namespace else free_port()

    def close(self) -> None:
        self._thread.shutdown()


class Switch:
    """Where machines are plugged in: a switch, or nothing but loopback."""

    def __init__(self) -> None:
        self._switch: Machine | None = None
        self._machines: list[Machine] = []

    @property
    def is_real(self) -> bool:
        """Tell whether machines are namespaces."""
        return self._switch is not None

    def make_switch(self) -> None:
        """Have namespaces from now on. Raises OSError or CalledProcessError where they cannot be had."""
        switch = Machine("switch", (), is_namespace=True)
        try:
            switch.unshare()
            switch.do(_ip, "link add switch type bridge")
            switch.do(_ip, "link add port0 type veth peer name spare")  # whether the kernel knows such a thing
            switch.do(_ip, "link set switch up")
        except _BROKEN:
            switch.close()
            raise
        self._switch = switch

    def plug_in(self, name: str, *addresses: str) -> Machine:
        """Return a new machine with these addresses; on loopback `10.0.0.x` is `127.0.0.x`."""
        if self._switch is None:
            machine = Machine(name, tuple("127" + address[2:] for address in addresses), is_namespace=False)
            self._machines.append(machine)
            return machine
        machine = Machine(name, addresses, is_namespace=True)
        self._machines.append(machine)
        machine.unshare()
        port = f"port{len(self._machines)}"
        self._switch.do(_ip, f"link add {port} type veth peer name eth0 netns {machine.path}")
        self._switch.do(_ip, f"link set {port} master switch up")
        for address in addresses:
            machine.do(_ip, f"address add {address}/24 dev eth0")
        machine.do(_ip, "link set lo up")
        machine.do(_ip, "link set eth0 up")
        return machine

    def close(self) -> None:
        for machine in (*self._machines, *filter(None, [self._switch])):
            machine.close()


@contextmanager
def wired(*, real: bool = True) -> Iterator[Switch]:
    """Give a wire; not a real one where namespaces cannot be had (no root, no `ip`, no such thing in the kernel)."""
    wire = Switch()
    if real:
        try:
            wire.make_switch()
        except _BROKEN:
            real = False
    try:
        yield wire
    finally:
        wire.close()


def _ip(arguments: str) -> None:
    subprocess.run(
        ["ip", *arguments.split()], check=True, capture_output=True, timeout=30, env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
    )


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
