"""`layertui completion SHELL`: the script that makes a shell complete the command line."""

from __future__ import annotations

import click

from ..errors import UserError


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print the completion script for a shell.

    \b
    bash: echo 'eval "$(layertui completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(layertui completion zsh)"' >> ~/.zshrc
    fish: layertui completion fish > ~/.config/fish/completions/layertui.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise UserError(f"no completion for {shell}")
    root = ctx.find_root().command
    click.echo(kind(root, {}, "layertui", "_LAYERTUI_COMPLETE").source())
    return 0
