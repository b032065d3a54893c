"""`layertui explain`: layers against their laws, and what could be wrong with them."""

from __future__ import annotations

import json
from typing import Any

import click

from ...compare.judging.options import JudgingOptions
from ..errors import UserError
from ..options import (
    NO_CACHE,
    OVERWRITE,
    THREADS,
    form_option,
    judging_options,
    model_options,
    output_option,
    two_captures,
)

SCHEMA = "layertui.explain/1"


@click.command()
@two_captures
@click.argument("layer", required=False)
@judging_options
@model_options
@form_option(("text", "json"), "the explanation")
@output_option("the explanation goes")
@OVERWRITE
@THREADS
@NO_CACHE
def explain(
    reference: str, candidate: str, layer: str | None, form: str, output: str, overwrite: bool,
    threads: int | None, no_cache: bool, **judging: Any,
) -> int:  # fmt: skip
    """Check layers of two captures against what they should output for their own inputs.

    LAYER is a module, `module-slot`, a part of one or a row's number as `#12`; without it, the
    layers that violate their law are explained. Prints the law, the parameters and local errors of
    both sides, every hypothesis that was tried with its numbers, and, where no law applies, which
    records to capture.

    Exit status 0: explained. 2: usage, a capture that cannot be opened, or no such layer.
    """
    from ...compare.reports.explanation import explain as explained
    from ...compare.reports.explanation import json_of, text_of
    from ...compare.reports.forms.json_form import plain_json
    from ..output import check_target, write_output
    from ..session import measure_all, open_pair

    check_target(output, overwrite)
    comparison = open_pair(reference, candidate, JudgingOptions(**judging))
    if not comparison.judges_by_laws:
        raise UserError("laws are checked by --policy noise only")
    measure_all(comparison, threads, not no_cache)
    found = explained(comparison, layer)
    if layer is not None and not found:
        raise UserError(f"{layer}: neither capture has such a layer; `layertui show` lists them")
    if form == "json":
        data = {
            "schema": SCHEMA, "reference": reference, "candidate": candidate,
            "notes": list(comparison.arithmetic_notes()), "layers": json_of(found),
        }  # fmt: skip
        text = json.dumps(plain_json(data), indent=2) + "\n"
    else:
        text = text_of(found, [*comparison.arithmetic_notes(), *comparison.models.lines()])
    write_output(output, text, overwrite)
    return 0
