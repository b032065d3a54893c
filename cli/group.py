"""The click group behind `layertui`. Subcommands are imported when they are asked for, so that
`--help` and `--version` need neither textual nor numpy.
"""

from __future__ import annotations

import difflib
import importlib
import os
from typing import Any

import click

from .errors import UserError

COMMANDS = {
    "capture": ("layertui.cli.commands.capture", "capture"),
    "check": ("layertui.cli.commands.check", "check"),
    "compare": ("layertui.cli.commands.compare", "compare"),
    "show": ("layertui.cli.commands.show", "show"),
    "completion": ("layertui.cli.commands.completion", "completion"),
    "explain": ("layertui.cli.commands.explain", "explain"),
    "demo": ("layertui.cli.commands.demo", "demo"),
    "diff": ("layertui.cli.commands.diff", "diff"),
    "names": ("layertui.cli.commands.names", "names"),
    "metrics": ("layertui.cli.commands.metrics", "metrics"),
    "thresholds": ("layertui.cli.commands.thresholds", "thresholds"),
    "repro": ("layertui.cli.commands.repro", "repro"),
    "rerun": ("layertui.cli.commands.rerun", "rerun"),
    "snippet": ("layertui.cli.commands.snippet", "print_snippet"),
    "verify": ("layertui.cli.commands.verify", "verify"),
}
_DEFAULT = ("layertui.cli.commands.open", "open_captures")


class CommandLine(click.Group):
    """A group whose default command opens two captures: `layertui REFERENCE CANDIDATE`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "":
            return _load(_DEFAULT)
        return _load(COMMANDS[cmd_name]) if cmd_name in COMMANDS else None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in COMMANDS and not self._own_option(ctx, args[0]):
            _refuse_mistyped(args)
            args = ["", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] == "":
            return None, _load(_DEFAULT), args[1:]
        return super().resolve_command(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS] REFERENCE CANDIDATE\n", "COMMAND [ARGS]..."]

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[OPTIONS] REFERENCE CANDIDATE")
        formatter.write_usage(ctx.command_path, "[OPTIONS] EXPORT", prefix="   or: ")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...", prefix="   or: ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        default = _load(_DEFAULT)
        inner = click.Context(default, parent=ctx)
        options = [p for p in default.params if isinstance(p, click.Option) and p.name != "help"]
        records = [p.get_help_record(inner) for p in options] + [
            p.get_help_record(ctx) for p in self.get_params(ctx)
        ]
        with formatter.section("Options"):
            formatter.write_dl([record for record in records if record is not None])
        self.format_commands(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Subcommands, and what the default command takes: its options and directories."""
        from click.shell_completion import CompletionItem

        found = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-"):
            default = _load(_DEFAULT)
            found += default.shell_complete(click.Context(default, parent=ctx), incomplete)
            return [item for i, item in enumerate(found)
                    if item.value not in {other.value for other in found[:i]}]  # fmt: skip
        return [*found, CompletionItem(incomplete, type="dir")]

    def _own_option(self, ctx: click.Context, argument: str) -> bool:
        return any(argument in parameter.opts for parameter in self.get_params(ctx))


def _load(place: tuple[str, str]) -> click.Command:
    module, name = place
    return getattr(importlib.import_module(module), name)


def _refuse_mistyped(args: list[str]) -> None:
    """`layertui comapre A B` is a slip of the finger, not two captures and a rest."""
    word = args[0]
    if word.startswith("-") or os.path.lexists(word) or os.sep in word:
        return
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    if near:
        raise UserError(f"no command and no directory {word!r}; did you mean {near[0]!r}?")


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"layertui {version('layertui')}")
        ctx.exit()


def _print_places(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from ..capture.user import paths
        from ..compare.device.seen import seen_by_torch
        from ..compare.measuring.kernel import in_use

        click.echo(f"config  {paths.config_dir()}")
        click.echo(f"cache   {paths.cache_dir()}")
        click.echo(f"state   {paths.state_dir()}")
        click.echo(f"sums    {in_use()}")
        click.echo(f"device  {seen_by_torch()}")
        ctx.exit()


@click.group(
    cls=CommandLine,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 the same up to rounding, 1 different, 2 usage error or unreadable.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.option(
    "--where", is_flag=True, is_eager=True, expose_value=False, callback=_print_places,
    help="Show the directories for settings, cache and state, what measures, and exit.",
)  # fmt: skip
def layertui() -> None:
    """Compare the tensors of every layer in two runs of a model, and find the first that differs.

    A directory with the name of a command is given as ./compare.
    """
