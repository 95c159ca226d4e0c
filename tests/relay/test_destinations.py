"""Which addresses a target may have; the checked address is the one that is connected to."""

import asyncio
import socket
from contextlib import closing
from ipaddress import ip_address
from typing import Any

import pytest

from receiver.relay.connections import Connections, OpenConnection
from receiver.relay.destinations import NotAllowed, connect, is_public
from receiver.relay.http import Post
from tests.harness.endpoint import answering
from tests.harness.table import each_row


@each_row(
    "address",
    [
        *("3.222.254.223", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "2001:4860:4860::8888"),
        *("2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"),
    ],
)
def test_addresses_of_the_internet_are_allowed(address: str) -> None:
    assert is_public(ip_address(address))


@each_row(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "::1", "0.0.0.0", "0.1.2.3", "::"),  # this machine
        *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12::1", "fec0::1"),  # private
        *("169.254.1.1", "fe80::1"),  # link-local
        *("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),  # metadata of platforms
        *("224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"),  # multicast
        *("240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "100::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::127.0.0.1"),  # IPv4 inside IPv6
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a00:1::1"),
        "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo; the client is 127.0.0.1
    ],
)
def test_all_others_are_not(address: str) -> None:
    assert not is_public(ip_address(address))


class Resolver:
    """A name server that says these addresses, one after the other."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        return socket.getaddrinfo(self._answers.pop(0), port, type=socket.SOCK_STREAM)


def test_a_name_is_resolved_once_and_the_address_is_used_with_the_name_in_the_request() -> None:
    resolver = Resolver("127.0.0.1")
    with answering() as endpoint:
        connections = Connections(f"http://shop.invalid:{endpoint.port}/", 5.0, allow_private=True, resolve=resolver)
        assert Post(connections, "/", {}, b"{}").run().status == 200
        connections.close()
        assert endpoint.calls[0].headers["host"] == f"shop.invalid:{endpoint.port}"
    assert resolver.asked == ["shop.invalid"]


@each_row("address", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_a_name_that_leads_to_a_private_address_is_not_connected_to(address: str) -> None:
    with answering() as endpoint:
        connections = Connections(
            f"http://shop.invalid:{endpoint.port}/", 5.0, allow_private=False, resolve=Resolver(address, "8.8.8.8")
        )
        with pytest.raises(NotAllowed, match="allow_private"):
            Post(connections, "/", {}, b"{}").run()
        assert endpoint.connections == 0


def test_a_public_address_needs_no_permission_and_its_error_is_the_one_that_is_raised() -> None:
    def resolve(_host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        private = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))
        return [private, (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("8.8.8.8", port))]  # of the wrong family: nothing is sent

    with answering() as endpoint:
        with pytest.raises(socket.gaierror):
            connect("shop.invalid", endpoint.port, 5.0, allow_private=False, resolve=resolve)
        assert endpoint.connections == 0


def test_a_connection_that_was_cut_before_it_was_open_is_cut_then() -> None:
    connection = OpenConnection(5.0, allow_private=True, resolve=Resolver("127.0.0.1"))
    with answering() as endpoint:
        connection.cut()
        with closing(connection), connection.open("shop.invalid", endpoint.port) as opened:
            assert opened.recv(1) == b""


def test_a_connection_has_the_time_out_and_sends_small_requests_at_once() -> None:
    with (
        answering() as endpoint,
        connect("shop.invalid", endpoint.port, 5.0, allow_private=True, resolve=Resolver("127.0.0.1")) as made,
    ):
        assert (made.gettimeout(), made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) == (5.0, 1)


def test_where_the_first_address_does_not_answer_the_next_one_is_tried() -> None:
    def both(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        found = socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)[0]
        return [(*found[:4], ("127.0.0.2", port)), found]

    with answering() as endpoint, connect("shop.invalid", endpoint.port, 5.0, allow_private=True, resolve=both) as connection:
        assert connection.getpeername() == ("127.0.0.1", endpoint.port)


def test_an_address_that_is_silent_leaves_time_for_the_next_one() -> None:
    def both(_host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        found = socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)[0]
        return [(*found[:4], silent.getsockname()), found]

    async def post_in_time(post: Post, seconds: float) -> int:
        async with asyncio.timeout(seconds):
            return (await asyncio.to_thread(post.run)).status

    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as silent,  # it takes one connection, and drops further ones
        socket.create_connection(silent.getsockname()),
        answering() as endpoint,
    ):
        connections = Connections(endpoint.url, 3.0, allow_private=True, resolve=both)
        assert asyncio.run(post_in_time(Post(connections, "/", {}, b"{}"), 3.0)) == 200
        connections.close()
