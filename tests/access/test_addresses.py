"""The client's address, whatever a sender writes into its headers."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.access.addresses import Address, has_host_bits, is_listed, is_loopback, read_address, read_network, resolve
from tests.harness.table import each_row

SENDER = "54.161.7.2"
PROXY = "10.0.0.5"
TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@each_row(
    ("text", "address"),
    [
        pytest.param("1.2.3.4", "1.2.3.4", id="IPv4"),
        pytest.param(" 1.2.3.4\t", "1.2.3.4", id="white space"),
        pytest.param("1.2.3.4:443", "1.2.3.4", id="IPv4 with port"),
        pytest.param("1.2.3.4:0", "1.2.3.4", id="port 0"),
        pytest.param("1.2.3.4:65535", "1.2.3.4", id="largest port"),
        pytest.param("2001:db8::1", "2001:db8::1", id="IPv6"),
        pytest.param("2001:DB8:0:0:0:0:0:1", "2001:db8::1", id="IPv6 in full and upper case"),
        pytest.param("[2001:db8::1]", "2001:db8::1", id="IPv6 in brackets"),
        pytest.param("[2001:db8::1]:443", "2001:db8::1", id="IPv6 in brackets with port"),
        pytest.param("::ffff:1.2.3.4", "1.2.3.4", id="IPv4 mapped into IPv6"),
        pytest.param("::ffff:102:304", "1.2.3.4", id="the same in hexadecimal"),
        pytest.param("[::ffff:1.2.3.4]:80", "1.2.3.4", id="mapped, in brackets, with port"),
        pytest.param("::ffff:0.0.0.0", "0.0.0.0", id="mapped zero"),
        pytest.param("::1.2.3.4", "::102:304", id="IPv4-compatible is not mapped"),
    ],
)
def test_an_address_is_read_as_proxies_write_it(text: str, address: str) -> None:
    assert read_address(text) == ip_address(address)


@each_row(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("unknown", id="unknown"),
        pytest.param("_hidden", id="obfuscated identifier"),
        pytest.param("localhost", id="name"),
        pytest.param("1.2.3", id="three parts"),
        pytest.param("1.2.3.256", id="part over 255"),
        pytest.param("01.2.3.4", id="leading zero, octal to some"),
        pytest.param("0x7f.0.0.1", id="hexadecimal"),
        pytest.param("2130706433", id="one number"),
        pytest.param("1.2.3.4/32", id="network"),
        pytest.param("1.2.3.4:", id="colon without port"),
        pytest.param("1.2.3.4:65536", id="port over 65535"),
        pytest.param("1.2.3.4:-1", id="negative port"),
        pytest.param("1.2.3.4:http", id="named port"),
        pytest.param("1.2.3.4:\u0664", id="port in Arabic digits"),
        pytest.param("1.2.3.4:" + "9" * 5000, id="endless port"),
        pytest.param("1.2.3.4 5.6.7.8", id="two addresses"),
        pytest.param("[1.2.3.4]", id="IPv4 in brackets"),
        pytest.param("[::1", id="bracket left open"),
        pytest.param("::1]", id="bracket never opened"),
        pytest.param("[::1]443", id="port without colon"),
        pytest.param("[::1]:", id="colon without port after brackets"),
        pytest.param("[[::1]]", id="two brackets"),
        pytest.param("fe80::1%eth0", id="scope"),
        pytest.param("[fe80::1%25eth0]:80", id="scope in brackets"),
        pytest.param("for=1.2.3.4", id="syntax of another header"),
        pytest.param('"1.2.3.4"', id="quotes"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_address(text)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        assert read_address(text) == ip_address(str(read_address(text)))
    except ValueError:
        return


@each_row(
    ("text", "network"),
    [
        pytest.param("54.161.7.2", "54.161.7.2/32", id="address"),
        pytest.param("2001:db8::1", "2001:db8::1/128", id="IPv6 address"),
        pytest.param(" 10.0.0.0/8 ", "10.0.0.0/8", id="white space"),
        pytest.param("10.1.2.3/8", "10.0.0.0/8", id="host bits"),
        pytest.param("2001:db8::5/32", "2001:db8::/32", id="host bits of IPv6"),
        pytest.param("10.0.0.0/255.0.0.0", "10.0.0.0/8", id="netmask"),
        pytest.param("::ffff:10.0.0.0/104", "10.0.0.0/8", id="mapped network"),
        pytest.param("::ffff:1.2.3.4", "1.2.3.4/32", id="mapped address"),
        pytest.param("::ffff:0:0/96", "0.0.0.0/0", id="all mapped addresses"),
        pytest.param("::ffff:1.2.3.4/95", "::fffe:0:0/95", id="more than the mapped addresses"),
        pytest.param("::/0", "::/0", id="all of IPv6"),
    ],
)
def test_a_network_is_read_without_its_host_bits(text: str, network: str) -> None:
    assert read_network(text) == ip_network(network)


@each_row(
    ("text", "has_bits"),
    [("10.0.0.0/8", False), ("10.1.2.3/8", True), ("10.1.2.3", False), ("fd00::/8", False), ("fd00::5/8", True), ("::1", False)],
)
def test_host_bits_of_a_network_are_noticed(text: str, has_bits: bool) -> None:
    assert has_host_bits(text) is has_bits


@each_row(
    ("host", "is_here"),
    [
        *((host, True) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1")),
        *((host, False) for host in ("0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "receiver.example", "")),
    ],
)
def test_only_loopback_hosts_are_reachable_from_this_machine_alone(host: str, is_here: bool) -> None:
    assert is_loopback(host) is is_here


@each_row("text", ["", "ship24.com", "1.2.3.4/33", "1.2.3.4-1.2.3.9", "10.*", "fe80::1%eth0", "1.2.3.4,5.6.7.8"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_network(text)


@each_row(
    ("address", "networks", "listed"),
    [
        pytest.param("54.161.7.2", ["3.222.254.223", "54.161.7.2"], True, id="second entry"),
        pytest.param("54.161.7.3", ["54.161.7.2"], False, id="neighbour"),
        pytest.param("10.255.255.255", ["10.0.0.0/8"], True, id="last of a network"),
        pytest.param("11.0.0.0", ["10.0.0.0/8"], False, id="first after a network"),
        pytest.param("2001:db8:ffff::1", ["2001:db8::/32"], True, id="IPv6 network"),
        pytest.param("2001:db9::1", ["2001:db8::/32"], False, id="outside an IPv6 network"),
        pytest.param("1.2.3.4", ["::/0"], False, id="IPv4 against all of IPv6"),
        pytest.param("::1", ["0.0.0.0/0"], False, id="IPv6 against all of IPv4"),
        pytest.param("1.2.3.4", [], False, id="empty list"),
    ],
)
def test_an_address_is_listed_if_one_network_holds_it(address: str, networks: list[str], listed: bool) -> None:
    assert is_listed(ip_address(address), [read_network(network) for network in networks]) is listed


@each_row(
    ("peer", "forwarded", "caller"),
    [
        pytest.param(SENDER, [], SENDER, id="no proxy"),
        pytest.param("::ffff:54.161.7.2", [], SENDER, id="mapped peer"),
        pytest.param("6.6.6.6", [SENDER], "6.6.6.6", id="an untrusted peer's header is ignored"),
        pytest.param("6.6.6.6", ["garbage"], "6.6.6.6", id="an untrusted peer's garbage is ignored"),
        pytest.param(PROXY, [SENDER], SENDER, id="one proxy"),
        pytest.param(PROXY, [f"{SENDER}, 10.9.9.9"], SENDER, id="two proxies"),
        pytest.param(PROXY, [f"{SENDER}, 6.6.6.6"], "6.6.6.6", id="spoofed left entry"),
        pytest.param(PROXY, [f"{SENDER}, 10.9.9.9, 6.6.6.6"], "6.6.6.6", id="spoofed chain of proxies"),
        pytest.param(PROXY, [f"10.9.9.9, {SENDER}"], SENDER, id="trusted address left of the caller"),
        pytest.param(PROXY, [SENDER, "6.6.6.6"], "6.6.6.6", id="several lines: the last one counts"),
        pytest.param(PROXY, ["6.6.6.6", SENDER, "10.1.1.1"], SENDER, id="several lines: read as one list"),
        pytest.param(PROXY, ["garbage, 6.6.6.6"], "6.6.6.6", id="garbage left of the caller is not looked at"),
        pytest.param(PROXY, [f"{SENDER}:51312"], SENDER, id="entry with port"),
        pytest.param(PROXY, ["[2001:db8::7]:443"], "2001:db8::7", id="entry in brackets"),
        pytest.param(PROXY, [f"::ffff:{SENDER}"], SENDER, id="mapped entry"),
        pytest.param("::ffff:10.0.0.5", [SENDER], SENDER, id="mapped proxy"),
        pytest.param("fd00::1", [f"{SENDER},fd12::9"], SENDER, id="proxies in an IPv6 network"),
        pytest.param(PROXY, ["10.1.1.1, 10.2.2.2"], "10.1.1.1", id="all trusted: the outermost is the caller"),
        pytest.param(PROXY, [], PROXY, id="proxy without a header"),
        pytest.param(PROXY, [f"  {SENDER}  ,\t10.1.1.1 "], SENDER, id="white space"),
    ],
)
def test_the_caller_is_the_first_address_from_the_right_that_is_no_trusted_proxy(
    peer: str, forwarded: list[str], caller: str
) -> None:
    assert resolve(peer, forwarded, TRUSTED) == ip_address(caller)


@each_row(
    ("peer", "forwarded"),
    [
        pytest.param(None, [], id="no peer"),
        pytest.param(None, [SENDER], id="no peer, but a header"),
        pytest.param("", [], id="empty peer"),
        pytest.param("/run/receiver.sock", [SENDER], id="peer is a path"),
        pytest.param("fe80::1%eth0", [], id="peer with a scope"),
        pytest.param(PROXY, [""], id="empty header"),
        pytest.param(PROXY, [f"{SENDER},"], id="empty entry at the right"),
        pytest.param(PROXY, [f"{SENDER},,10.1.1.1"], id="empty entry between"),
        pytest.param(PROXY, [f"{SENDER}, unknown"], id="garbage at the right"),
        pytest.param(PROXY, [f"{SENDER}, garbage, 10.1.1.1"], id="garbage behind a trusted proxy"),
        pytest.param(PROXY, [f"{SENDER}, 6.6.6.6:99999"], id="impossible port"),
        pytest.param(PROXY, ["fe80::1%eth0"], id="entry with a scope"),
        pytest.param(PROXY, [SENDER, ""], id="empty last line"),
    ],
)
def test_a_caller_who_cannot_be_known_is_an_error(peer: str | None, forwarded: list[str]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        resolve(peer, forwarded, TRUSTED)


def test_the_error_does_not_repeat_what_the_header_said() -> None:
    with pytest.raises(ValueError, match="an entry of X-Forwarded-For is not an address") as error:
        resolve(PROXY, ["<script>"], TRUSTED)
    assert "script" not in repr(error.value)


def test_without_trusted_proxies_no_header_counts() -> None:
    assert resolve(PROXY, [SENDER], ()) == ip_address(PROXY)


ADDRESSES = st.ip_addresses()
CHAINS = st.lists(st.text(max_size=12) | ADDRESSES.map(str), max_size=6)


@given(CHAINS, ADDRESSES)
def test_nothing_that_the_caller_writes_changes_what_a_proxy_saw(spoofed: list[str], seen: Address) -> None:
    expected = resolve(PROXY, [str(seen)], TRUSTED)
    if is_listed(expected, TRUSTED):
        return
    lines = [*spoofed, str(seen)]
    assert resolve(PROXY, [",".join(lines)], TRUSTED) == expected
    assert resolve(PROXY, lines, TRUSTED) == expected
