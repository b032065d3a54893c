"""`layertui repro`: a layer's error as a test of its own."""

from __future__ import annotations

import shlex
from typing import Any

import click

from ...compare.judging.options import JudgingOptions
from ..errors import UserError
from ..options import NO_CACHE, RAW, RULES, THREADS, model_options, two_captures


@click.command()
@two_captures
@click.argument("layer", required=False)
@click.option(
    "-o", "--output", "folder", required=True, metavar="DIR", type=click.Path(),
    help="Directory for the test and its data: new or empty.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace an existing test.")
@NO_CACHE
@THREADS
@RULES
@RAW
@model_options
def repro(
    reference: str, candidate: str, layer: str | None, folder: str, overwrite: bool,
    no_cache: bool, threads: int | None, **judging: Any,
) -> int:  # fmt: skip
    """Write a test that reproduces the error of one layer, without captures or layertui.

    DIR gets test_<layer>.py and data.npz: the layer's inputs on both sides (a sample of the rows of
    large ones), its parameters, its law in torch, what both sides recorded, and the
    tolerances. test_reference passes; test_candidate fails where the layer is broken.

    LAYER is a module, module-slot, a record's name, or a row's number as #12.  [default: the first
    divergence]

    Exit status: 0 written, 2 no test can be made, usage, or a capture that cannot be opened.
    """
    from ...compare.repro.files import check_folder, reproduction, write
    from ...compare.repro.place import NothingToReproduceError
    from ..session import measure_all, open_pair

    try:
        check_folder(folder, overwrite)
        comparison = open_pair(reference, candidate, JudgingOptions(**judging))
        measure_all(comparison, threads, not no_cache)
        found = reproduction(comparison, layer)
        test, data = write(found, folder, overwrite)
    except NothingToReproduceError as error:
        raise UserError(str(error)) from error
    state = "both tests pass: the layer satisfies its law"
    if found.broken:
        state = "test_candidate fails"
    click.echo(f"{found.label}: {state}")
    click.echo(f"{test}\n{data}\nrun it with:  {shlex.join(['python', '-m', 'pytest', folder])}")
    return 0
