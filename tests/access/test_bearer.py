"""Bearer tokens: which are accepted, and their names."""

import copy
import pickle
import traceback
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network

import pytest

from receiver.access.addresses import Address
from receiver.access.bearer import AccessPolicy, AddressPolicy, Admission, Secret, match_bearer
from receiver.errors import AddressNotAllowed, Refused, Unauthorized
from tests.harness.table import each_row

OLD, NEW = Secret("old", "correct-horse-1"), Secret("new", "battery-staple-2")
LISTED, STRANGER = ip_address("54.161.7.2"), ip_address("6.6.6.6")
UNKNOWN = "an entry of X-Forwarded-For is not an address"
RIGHT = [b"Bearer correct-horse-1"]


def make_access_policy(policy: AddressPolicy = AddressPolicy.ENFORCE) -> AccessPolicy:
    return AccessPolicy((OLD, NEW), (ip_network("54.161.7.2"), ip_network("2001:db8::/32")), policy)


@each_row(
    ("authorization", "name"),
    [
        pytest.param(b"Bearer correct-horse-1", "old", id="first token"),
        pytest.param(b"Bearer battery-staple-2", "new", id="second token, while both are accepted"),
        pytest.param(b"bearer correct-horse-1", "old", id="scheme in lower case"),
        pytest.param(b"BEARER correct-horse-1", "old", id="scheme in upper case"),
        pytest.param(b"  Bearer   correct-horse-1  ", "old", id="spaces around"),
    ],
)
def test_a_right_token_gives_its_name(authorization: bytes, name: str) -> None:
    assert match_bearer((OLD, NEW), [authorization]) == name


@each_row(
    "authorization",
    [
        pytest.param([], id="no header"),
        pytest.param([b""], id="empty header"),
        pytest.param([b"Bearer"], id="scheme alone"),
        pytest.param([b"Bearer "], id="scheme and a space"),
        pytest.param([b"Bearer wrong"], id="wrong"),
        pytest.param([b"Bearer correct-horse-"], id="all but the last letter"),
        pytest.param([b"Bearer correct-horse-1x"], id="one letter more"),
        pytest.param([b"Bearer Correct-Horse-1"], id="other case"),
        pytest.param([b"Bearer correct-horse-1,battery-staple-2"], id="both tokens"),
        pytest.param([b"Bearer correct-horse-1 battery-staple-2"], id="both tokens with a space"),
        pytest.param([b"correct-horse-1"], id="token without scheme"),
        pytest.param([b"Bearer: correct-horse-1"], id="colon after the scheme"),
        pytest.param([b"Basic Y29ycmVjdC1ob3JzZS0x"], id="other scheme"),
        pytest.param([b"Token correct-horse-1"], id="scheme of another house"),
        pytest.param([b"Bearer \xff\xfe\x00"], id="bytes that are no text"),
        pytest.param([b"Bearer old"], id="name of a token"),
        pytest.param([b"Bearer correct-horse-1", b"Bearer correct-horse-1"], id="two headers, both right"),
        pytest.param([b"Bearer wrong", b"Bearer correct-horse-1"], id="two headers, one right"),
    ],
)
def test_everything_else_is_unauthorized(authorization: Sequence[bytes]) -> None:
    with pytest.raises(Unauthorized) as refusal:
        match_bearer((OLD, NEW), authorization)
    assert refusal.value.status == 401
    assert refusal.value.headers == ((b"www-authenticate", b"Bearer"),)


@each_row("sent", [b"Bearer wrong", b"Bearer correct-horse-", b"Bearer battery-staple-3", b"Bearer \xff"])
def test_every_wrong_token_gets_the_same_words(sent: bytes) -> None:
    with pytest.raises(Unauthorized, match=r"^The request had no valid token\.$"):
        match_bearer((OLD, NEW), [sent])


def test_without_tokens_nobody_is_accepted() -> None:
    with pytest.raises(Unauthorized):
        match_bearer((), RIGHT)


def test_a_token_that_was_retired_is_wrong() -> None:
    with pytest.raises(Unauthorized):
        match_bearer((NEW,), RIGHT)


def test_a_token_of_any_letters_is_compared_as_bytes() -> None:
    assert match_bearer((Secret("snow", "schnee-☃"),), [b"Bearer " + "schnee-☃".encode()]) == "snow"


@each_row("window_open", [False, True], ids=["window closed", "window open"])
@each_row("policy", list(AddressPolicy))
@each_row("client", [LISTED, ip_address("2001:db8::7")], ids=str)
def test_a_listed_address_is_accepted_without_a_note(client: Address, policy: AddressPolicy, window_open: bool) -> None:
    assert make_access_policy(policy).admit(RIGHT, client, window_open=window_open) == Admission("old", None)


@each_row(
    ("policy", "client", "window_open", "note"),
    [
        pytest.param("report", STRANGER, False, "would be refused: address not on the list", id="report, stranger"),
        pytest.param("report", UNKNOWN, False, f"would be refused: {UNKNOWN}", id="report, unresolvable"),
        pytest.param("report", STRANGER, True, "setup window: address not on the list", id="report in a window"),
        pytest.param("enforce", STRANGER, True, "setup window: address not on the list", id="enforce in a window"),
        pytest.param("enforce", UNKNOWN, True, f"setup window: {UNKNOWN}", id="enforce in a window, unresolvable"),
        pytest.param("off", STRANGER, False, None, id="off, stranger"),
        pytest.param("off", UNKNOWN, False, None, id="off, unresolvable"),
    ],
)
def test_another_address_is_accepted_with_a_note(policy: str, client: Address | str, window_open: bool, note: str | None) -> None:
    assert make_access_policy(AddressPolicy(policy)).admit(RIGHT, client, window_open=window_open) == Admission("old", note)


@each_row(
    ("client", "words"),
    [
        pytest.param(STRANGER, r"^IP address 6\.6\.6\.6 is not allowed\.$", id="stranger"),
        pytest.param(ip_address("::ffff:54.161.7.2"), r"is not allowed", id="mapped address that nobody unwrapped"),
        pytest.param(UNKNOWN, rf"^The IP address of the client is unknown: {UNKNOWN}\.$", id="unresolvable"),
    ],
)
def test_enforce_refuses_other_addresses(client: Address | str, words: str) -> None:
    with pytest.raises(AddressNotAllowed, match=words) as refusal:
        make_access_policy().admit(RIGHT, client, window_open=False)
    assert refusal.value.status == 403


@each_row("window_open", [False, True], ids=["window closed", "window open"])
@each_row("policy", list(AddressPolicy))
@each_row("client", [LISTED, STRANGER, UNKNOWN], ids=["listed", "stranger", "unresolvable"])
def test_the_token_is_required_under_every_policy(client: Address | str, policy: AddressPolicy, window_open: bool) -> None:
    with pytest.raises(Unauthorized):
        make_access_policy(policy).admit([b"Bearer wrong"], client, window_open=window_open)


def test_a_stranger_without_a_token_learns_nothing_of_the_list() -> None:
    with pytest.raises(Unauthorized) as refusal:
        make_access_policy().admit([], STRANGER, window_open=False)
    assert "6.6.6.6" not in refusal.value.message


@each_row(
    "show",
    [
        pytest.param(repr, id="repr"),
        pytest.param(str, id="str"),
        pytest.param(lambda secret: f"{secret}", id="f-string"),
        pytest.param("{0!s:>80} {0!r}".format, id="format"),
        pytest.param(lambda secret: repr({"tokens": [secret]}), id="inside a container"),
        pytest.param(lambda secret: repr(AccessPolicy((secret,), (), AddressPolicy.OFF)), id="inside a gate"),
    ],
)
def test_a_secret_shows_its_name_alone(show: Callable[[Secret], str]) -> None:
    shown = show(OLD)
    assert "old" in shown
    assert "horse" not in shown


@each_row("write", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_a_secret_cannot_be_pickled_or_copied(write: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError, match="pickled or copied"):
        write(OLD)


def test_a_secret_has_no_dictionary_to_be_dumped() -> None:
    assert not hasattr(OLD, "__dict__")


def test_a_secret_is_revealed_only_when_asked() -> None:
    assert OLD.reveal() == "correct-horse-1"


@each_row(
    "authorization",
    [[], [b"Bearer guess-4711"], [b"Basic guess-4711"], [b"guess-4711", b"guess-4711"]],
    ids=["none", "wrong", "other scheme", "several"],
)
def test_no_error_quotes_a_secret_or_what_was_sent(authorization: list[bytes]) -> None:
    with pytest.raises(Refused) as refusal:
        make_access_policy().admit(authorization, STRANGER, window_open=False)
    told = "".join(traceback.format_exception_only(refusal.value)) + refusal.value.message + repr(refusal.value)
    assert not [secret for secret in ("horse", "staple", "guess") if secret in told]
