"""The command `completion`."""

from typing import Literal

import click
from click.shell_completion import get_completion_class

from receiver.cli._commands import COMPLETE_VARIABLE
from receiver.cli._options import OneOf


@click.command()
@click.argument("shell", type=OneOf(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print the script that completes commands in SHELL.

    \b
    bash  receiver completion bash > ~/.local/share/bash-completion/completions/receiver
    zsh   receiver completion zsh > "${fpath[1]}/_receiver"
    fish  receiver completion fish > ~/.config/fish/completions/receiver.fish
    """
    root = context.find_root()
    name = root.info_name or ""
    click.echo(get_completion_class(shell)(root.command, {}, name, COMPLETE_VARIABLE).source())
