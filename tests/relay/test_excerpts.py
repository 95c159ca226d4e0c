"""The beginning of a target's answer: one printable line without secrets."""

from receiver.relay.excerpts import MAX_CHARACTERS, list_secret_parts, make_excerpt
from tests.harness.table import each_row


@each_row(
    ("content", "expected"),
    [
        (b"", ""),
        (b" no\r\n\tstock \x00\x1b[31m ", "no stock [31m"),
        (b"caf\xc3\xa9 \xff", "caf\u00e9 \ufffd"),
        ("a\u202eb\u2028c".encode(), "a b c"),
        (b"the token secret-1 is wrong, not secret", "the token [secret] is wrong, not secret"),
        (b"x" * 4096, "x" * (MAX_CHARACTERS - 1) + "\u2026"),
    ],
)
def test_an_answer_is_shown_as_one_printable_line_without_secrets(content: bytes, expected: str) -> None:
    assert make_excerpt(content, ["", "secret-1"]) == expected


def test_a_secret_that_is_cut_at_the_end_of_what_was_read_is_not_shown() -> None:
    for beginning, shown in ((b"secret", "wrong:"), (b"sec", "wrong:"), (b"se", "wrong: se")):
        assert make_excerpt(b"wrong: " + beginning, ["secret-1"], is_cut=True) == shown
    assert make_excerpt(b"wrong: secret", ["secret-1"]) == "wrong: secret"


def test_a_longer_secret_is_removed_before_one_inside_it() -> None:
    assert make_excerpt(b"whsec_abcdef", ["abcdef", "whsec_abcdef"]) == "[secret]"


def test_every_part_of_a_url_that_may_be_a_secret_is_known_as_written_and_decoded() -> None:
    parts = list_secret_parts("https://shop.example/hooks/sixsix/key%2Dvalue/a?token=abc%20def&x=1&y=pad%3Ded=")
    assert {"sixsix", "key%2Dvalue", "key-value", "abc%20def", "abc def", "token=abc%20def", "pad%3Ded=", "pad=ed="} <= parts
    assert not {"", "a", "x", "1", "hooks", "shop.example"} & parts
