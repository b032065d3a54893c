"""`layertui snippet ENGINE`: the lines that make a capture there."""

from __future__ import annotations

import click

from ...capture.snippets import ENGINES, snippet


@click.command("snippet")
@click.argument("engine", type=click.Choice(ENGINES))
def print_snippet(engine: str) -> int:
    """Print the lines to paste, or the variable to set, that make a capture in ENGINE.

    They say which mode is needed, and what becomes of several processes.
    """
    click.echo(snippet(engine), nl=False)
    return 0
