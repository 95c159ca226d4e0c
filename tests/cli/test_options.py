"""Numbers on the command line."""

import click
import pytest

from receiver.cli._options import NumberParam
from tests.harness.table import each_row


@each_row("text", ["nan", "inf", "-inf", "0", "many"])
def test_a_number_is_one_that_can_be_counted_with(text: str) -> None:
    with pytest.raises(click.BadParameter):
        NumberParam(0, min_open=True).convert(text, None, None)
