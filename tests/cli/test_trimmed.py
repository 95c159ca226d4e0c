"""White space around typed, pasted or scanned text is removed: for every parameter of every command, and in paths."""

from collections.abc import Iterator
from urllib.parse import quote

import click
import pytest

from receiver.cli import commands
from receiver.cli._options import OneOf, Text, TimeParam, WindowParam
from receiver.cli._prune_tests import RunParam
from receiver.cli.check import Url
from receiver.cli.simulate import Digits, OwnAddress, Token, WebhookUrlParam
from tests.cli.test_endings import walk
from tests.conftest import StartService
from tests.harness.command import run_command
from tests.harness.ship24 import body, event, item
from tests.harness.table import each_row

OPS = "the-ops-token-of-these-tests"
PADDED = "\u200b\t \N{NO-BREAK SPACE}%s \ufeff\r\n"
EXAMPLES: dict[type[click.ParamType[object]], str] = {
    Text: "TN 1",
    TimeParam: "2026-01-31T12:00:00Z",
    WindowParam: "24h",
    Url: "http://127.0.0.1:9/webhooks/ship24",
    WebhookUrlParam: "http://127.0.0.1:9/webhooks/ship24",
    Token: "a-token-of-these-tests",
    Digits: "00abcdef",
    RunParam: "00abcdef",
    OwnAddress: "127.0.0.2",
}
AS_TYPED = (click.types.BoolParamType, click.Path, click.types.IntParamType, click.types.FloatParamType)
"""Types that are no text, or of which white space may be a part; numbers are read by Python, which trims them."""


def _parameters() -> Iterator[tuple[str, click.Parameter]]:
    for words, command in walk(commands):
        for parameter in command.params:
            if not isinstance(parameter.type, AS_TYPED):
                yield f"{' '.join(words)} {parameter.opts[0]}", parameter


PARAMETERS = dict(_parameters())
every_parameter = each_row("name", PARAMETERS)


def example(kind: click.ParamType[object]) -> str:
    """Return a text of a type. A KeyError is for a type that does not trim, such as click's own STRING and Choice."""
    return str(kind.choices[0]) if isinstance(kind, OneOf) else EXAMPLES[type(kind)]


def test_there_are_parameters_of_each_kind() -> None:
    assert {type(parameter.type) for parameter in PARAMETERS.values()} == {*EXAMPLES, OneOf}


@every_parameter
def test_a_parameter_is_trimmed(name: str) -> None:
    kind = PARAMETERS[name].type
    text = example(kind)
    assert kind.convert(PADDED % text, None, None) == kind.convert(text, None, None)


@every_parameter
@each_row("nothing", ["", PADDED % ""], ids=repr)
def test_a_parameter_that_is_empty_or_white_space_only_is_wrong_use(name: str, nothing: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        PARAMETERS[name].type.convert(nothing, None, None)
    assert refused.value.exit_code == 2


@every_parameter
def test_a_parameter_that_is_not_utf_8_is_wrong_use(name: str) -> None:
    kind = PARAMETERS[name].type
    with pytest.raises(click.UsageError) as refused:
        kind.convert(f"{example(kind)}\udcff", None, None)
    assert refused.value.exit_code == 2


def test_commands_and_paths_find_what_was_scanned_with_white_space_around(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    assert running.post(body(item("m1", "T1", [event("e1", "2025-03-02T10:00:00")]))).status == 200
    delivery = running.get("/ops/api/deliveries", OPS).json()["items"][0]["id"]
    for path in (("trackers", "ship24", "T1"), ("messages", "m1"), ("deliveries", delivery)):
        plain, padded = ("/".join(quote(part) for part in parts) for parts in (path, [path[0], *(PADDED % p for p in path[1:])]))
        answers = [running.get(f"/ops/api/{where}", OPS) for where in (plain, padded)]
        assert [answer.status for answer in answers] == [200, 200], path
        assert answers[0].json() == answers[1].json()
    for words in (("trackers", "show", "T1"), ("explain", "m1"), ("deliveries", "show", delivery)):
        done = [
            run_command(*words[:-1], word, cwd=running.directory, env=running.env) for word in (words[-1], PADDED % words[-1])
        ]
        assert [one.returncode for one in done] == [0, 0]
        assert done[0].stdout == done[1].stdout
    assert run_command("explain", PADDED % "", cwd=running.directory, env=running.env).returncode == 2
