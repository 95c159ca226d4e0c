"""Allowed addresses of targets: public ones, unless the settings allow private ones.

The name is resolved once, and the connection goes to an address that was checked. So a name server that answers differently the
next time changes nothing (DNS rebinding).
"""

import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from receiver.access.addresses import Address, is_listed, read_network

Resolve = Callable[..., list[tuple[Any, ...]]]
"""A function like `socket.getaddrinfo`."""

_MAX_ADDRESSES = 4  # of one name
_TRANSLATED = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
_RESERVED = tuple(  # missing from the tables of some Python versions
    map(
        read_network,
        (
            *("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "100::/32", "2001::/23", "2001:db8::/32", "3fff::/20"),
            *("5f00::/16", "fec0::/10"),
            "168.63.129.16",  # Azure's internal service, at a public address; those of other platforms are link-local or private
        ),
    )
)


class NotAllowed(Exception):
    """A host name has no allowed address. The text can be logged."""


def is_public(address: Address) -> bool:
    """Return whether an address is public. For an IPv6 address that contains IPv4 addresses, those decide."""
    return all(map(_is_public, [*_inside(address)] or [address]))


def connect(host: str, port: int, seconds: float, *, allow_private: bool, resolve: Resolve = socket.getaddrinfo) -> socket.socket:
    """Return a connection to the first allowed address that accepts it, with a time-out of `seconds`.

    The addresses share this time, so that a silent one leaves some for the next. Raises NotAllowed, or OSError of the last one.
    """
    found = resolve(host, port, type=socket.SOCK_STREAM)
    allowed = [entry for entry in found if allow_private or is_public(ip_address(entry[4][0].partition("%")[0]))]
    if not allowed:
        raise NotAllowed("its host has a private or reserved address; set allow_private to allow it")
    tried = allowed[:_MAX_ADDRESSES]
    for number, (family, kind, protocol, _, address) in enumerate(tried, 1):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(seconds / len(tried))
            connection.connect(address)
            connection.settimeout(seconds)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            connection.close()
            if number == len(tried):
                raise
        else:
            return connection
    raise AssertionError("there was an address")


def _is_public(address: Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved or is_listed(address, _RESERVED))


def _inside(address: Address) -> Iterator[Address]:
    """Yield the IPv4 addresses inside an IPv6 address: mapped, 6to4, Teredo, translated."""
    if not isinstance(address, IPv6Address):
        return
    for inner in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
        if inner is not None:
            yield inner
    if address in _TRANSLATED:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
