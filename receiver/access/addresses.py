"""Client addresses: that of the connection, or the one that trusted proxies forward. Pure; uvicorn's own proxy handling is off.

`X-Forwarded-For` grows to the right: each proxy appends the address that it saw. Only entries of trusted proxies are reliable, so
the list is read from the right. An entry that the client wrote at the left end never counts.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def read_network(text: str) -> Network:
    """Read an address or a network, without its host bits. Raises ValueError for other text.

    A network of IPv4 addresses mapped into IPv6 becomes the IPv4 network.
    """
    if "%" in text:
        raise ValueError("a scope has no meaning on another machine")
    network = ip_network(text.strip(), strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return ip_network((mapped, network.prefixlen - 96)) if mapped else network


def has_host_bits(text: str) -> bool:
    """Tell whether a valid network is written with host bits set, as in 10.1.2.3/8."""
    try:
        ip_network(text)
    except ValueError:
        return True
    return False


def is_loopback(host: str) -> bool:
    """Tell whether a service that listens on this host can be reached from this machine only."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=1024)  # few senders and proxies send most requests
def read_address(text: str) -> Address:
    """Read an address as proxies write it: `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]`, `[::1]:80`. Raises ValueError for other text.

    An IPv4 address mapped into IPv6 (`::ffff:1.2.3.4`) becomes the IPv4 address. An address with a scope (`fe80::1%eth0`) is
    refused, because the scope has no meaning on another machine.
    """
    host = text.strip()
    if host.startswith("["):
        host, bracket, port = host[1:].partition("]")
        if not bracket or (port and not _is_port(port)):
            raise ValueError("a bracket is not closed, or not followed by a port")
        if ":" not in host:
            raise ValueError("brackets are for IPv6 addresses")
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
        if not _is_port(f":{port}"):
            raise ValueError("not a port")
    if "%" in host:
        raise ValueError("a scope has no meaning on another machine")
    address = ip_address(host)
    return getattr(address, "ipv4_mapped", None) or address


def is_listed(address: Address, networks: Iterable[Network]) -> bool:
    """Tell whether the address is in one of the networks. An address of the other IP version never is."""
    return any(address in network for network in networks)


def resolve(peer: str | None, forwarded: Iterable[str], trusted: tuple[Network, ...]) -> Address:
    """Return the client's address. Raises ValueError with the reason if it cannot be known.

    `peer` is the address of the connection, `forwarded` has the values of the `X-Forwarded-For` lines in their order. If every
    entry is a trusted proxy, the leftmost one is the client.
    """
    if peer is None:
        raise ValueError("the connection has no address")
    address = read_address(peer)
    entries = [entry for line in forwarded for entry in line.split(",")]
    while entries and is_listed(address, trusted):
        entry = entries.pop()
        try:
            address = read_address(entry)
        except ValueError:
            raise ValueError("an entry of X-Forwarded-For is not an address") from None
    return address


def _is_port(text: str) -> bool:
    digits = text.removeprefix(":")
    return text.startswith(":") and digits.isascii() and digits.isdigit() and int(digits) < 65536
