"""Where a call comes from: the peer, or what trusted proxies say of it. Pure; uvicorn's own proxy handling is off.

`X-Forwarded-For` grows to the right: each proxy appends the address that it saw. Only what trusted proxies wrote is true, so the
list is read from the right, and what the caller put at its left end never counts.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def read_network(text: str) -> Network:
    """Read an address or a network; host bits are cut off. Raises ValueError."""
    if "%" in text:
        raise ValueError("a scope means nothing on another machine")
    network = ip_network(text.strip(), strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return ip_network((mapped, network.prefixlen - 96), strict=False) if mapped and network.prefixlen >= 96 else network


def has_host_bits(text: str) -> bool:
    """Tell whether a network that `read_network` takes is written with an address inside it, as in 10.1.2.3/8."""
    try:
        ip_network(text.strip())
    except ValueError:
        return True
    return False


def is_loopback(host: str) -> bool:
    """Tell whether a host name or an address that is listened on can only be reached from this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=1024)  # the same few senders and proxies, again and again
def read_address(text: str) -> Address:
    """Read an address as proxies write them: `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]`, `[::1]:80`. Raises ValueError.

    An IPv4 address mapped into IPv6 (`::ffff:1.2.3.4`) is the IPv4 address. A scope (`fe80::1%eth0`) means nothing elsewhere and
    is not accepted.
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
        raise ValueError("a scope means nothing on another machine")
    address = ip_address(host)
    return getattr(address, "ipv4_mapped", None) or address


def is_listed(address: Address, networks: Iterable[Network]) -> bool:
    """Tell whether the address is in one of the networks; another IP version never is."""
    return any(address.version == network.version and address in network for network in networks)


def resolve(peer: str | None, forwarded: Iterable[str], trusted: tuple[Network, ...]) -> Address:
    """Return the caller's address. Raises ValueError, naming the rule, if it cannot be known.

    `peer` is the address of the connection; `forwarded` are the values of the `X-Forwarded-For` lines in their order. Where every
    entry is a trusted proxy, the outermost of them is the caller.
    """
    if peer is None:
        raise ValueError("the connection has no address")
    address = read_address(peer)
    entries = [entry for line in forwarded for entry in line.split(",")]
    while entries and is_listed(address, trusted):
        entry = entries.pop()
        try:
            address = read_address(entry.strip())
        except ValueError:
            raise ValueError("an entry of X-Forwarded-For is not an address") from None
    return address


def _is_port(text: str) -> bool:
    digits = text.removeprefix(":")
    return text.startswith(":") and digits.isascii() and digits.isdigit() and int(digits) < 65536
