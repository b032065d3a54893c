"""`layertui demo`: captures of a small model with a planted fault, and the screen on them.

The captures of a few faults come with the package. For others the model runs in a child process:
the process that owns the screen never imports torch.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import click

from ...capture.demo.factories import DTYPES
from ...capture.demo.faults import FAULTS, NAMES
from ...capture.demo.shipped import SHIPPED, is_shipped
from ...compare.judging.options import JudgingOptions
from ..errors import UserError
from ..output import stderr_is_terminal

# The child must not find a user's torch.py: `-c` puts the working directory on the path.
CHILD = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "from layertui.capture.demo.demo import main; sys.exit(main())"
)


def _list_faults(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        width = max(len(name) for name in NAMES)
        for fault in FAULTS:
            more = "" if fault.name in SHIPPED else "  (needs torch)"
            click.echo(f"{fault.name:{width}}  {fault.description}{more}")
        ctx.exit()


@click.command()
@click.option(
    "--fault",
    type=click.Choice(NAMES),
    default="attention-scale",
    show_default=True,
    metavar="NAME",
    help="The fault in the candidate.",
)
@click.option(
    "--list-faults",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_faults,
    help="Show the faults and exit.",
)
@click.option(
    "-o",
    "--output",
    default=None,
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Directory for the captures.  [default: a new directory in the cache]",
)
@click.option("--overwrite", is_flag=True, help="Write into a directory that is not empty.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed for the weights.")
@click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    default="float32",
    show_default=True,
    help="Dtype of both runs.",
)
@click.option("--ascii", "plain", is_flag=True, help="Draw with ASCII characters only.")
@click.option("--no-mouse", is_flag=True, help="Leave the mouse to the terminal.")
@click.option("--no-tui", is_flag=True, help="Only write the captures and print where they are.")
def demo(
    fault: str, output: str | None, overwrite: bool, seed: int, dtype: str, plain: bool,
    no_mouse: bool, no_tui: bool,
) -> int:  # fmt: skip
    """Try the program on a small model with a planted fault.

    Needs no checkpoint, network or GPU. The model was run once as the reference and once in another
    implementation, which sums in a different order and has one fault. The captures of some faults
    come with the program; for others, and for --seed and --dtype, it runs now, which needs the
    extra `torch`.
    """
    from ...capture.extras import require_torch
    from ...tui import is_interactive
    from .open import ScreenOptions, show

    opened = is_interactive() and not no_tui
    if opened:
        _refuse_dumb_terminal()
    make = unpack_captures if is_shipped(fault, seed, dtype) else make_captures
    if make is make_captures:
        require_torch(f"--fault {fault} --seed {seed} --dtype {dtype}")
    folder = _folder(output, fault, overwrite)
    make(folder, fault, seed, dtype)
    reference, candidate = os.path.join(folder, "reference"), os.path.join(folder, "candidate")
    click.echo(f"reference  {click.format_filename(reference)}")
    click.echo(f"candidate  {click.format_filename(candidate)}")
    if not opened:
        again = shlex.join(["layertui", reference, candidate])
        click.echo(f"open them with:  {click.format_filename(again)}")
        return 0
    screen = ScreenOptions(plain, False if no_mouse else None)
    return show(reference, candidate, JudgingOptions(), screen)


def _refuse_dumb_terminal() -> None:
    """Before the model runs, not after."""
    from ...tui.terminal import refusal

    refused = refusal()
    if refused is not None:
        raise UserError(refused.removeprefix("layertui: "))


def unpack_captures(folder: str, fault: str, _seed: int, _dtype: str) -> None:
    """Write the captures that come with the package. Raises `UserError`."""
    from ...capture.demo.shipped import unpack

    try:
        unpack(folder, fault)
    except OSError as error:
        place = error.filename or folder
        raise UserError(f"{place}: cannot be written: {error.strerror}") from error


def make_captures(folder: str, fault: str, seed: int, dtype: str) -> None:
    """Write `reference` and `candidate` below `folder` in a child process.

    Raises `UserError` with the child's last words when it fails.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, folder, fault, str(seed), dtype],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
        try:
            _show_progress(child)
            status = child.wait()
        except BaseException:
            child.kill()
            child.wait()
            raise
        finally:
            _show_line("")
        if status != 0:
            raise UserError(f"the demo's model did not run: {_last_words(errors, status)}")


def _show_progress(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    with child.stdout as lines:
        for line in lines:
            _show_line(line.strip() + " ...")


def _show_line(text: str) -> None:
    if stderr_is_terminal():
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)


def _last_words(errors: IO[str], status: int) -> str:
    errors.seek(0)
    lines = [line.strip() for line in errors.read().splitlines() if line.strip()]
    return lines[-1] if lines else f"status {status}"


def _folder(output: str | None, fault: str, overwrite: bool) -> str:
    """The directory for the captures, made if need be. Raises `UserError` for one in use."""
    try:
        if output is None:
            from ...capture.user.paths import cache_dir

            parent = cache_dir() / "demo"
            parent.mkdir(parents=True, exist_ok=True)
            return tempfile.mkdtemp(prefix=f"{fault}-", dir=parent)
        Path(output).mkdir(parents=True, exist_ok=True)
        if os.listdir(output) and not overwrite:
            raise UserError(f"{output}: not empty (--overwrite writes into it)")
        return output
    except OSError as error:
        place = output or error.filename
        raise UserError(f"{place}: cannot be written: {error.strerror}") from error
