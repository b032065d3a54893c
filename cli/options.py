"""Options that mean the same in every command."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from ..compare.measuring.metrics import METRICS
from ..compare.vocabulary import POLICIES
from .errors import UserError

if TYPE_CHECKING:
    from ..capture.layer_range import LayerRange

Command = TypeVar("Command", bound=Callable[..., Any])

ONE_OR_TWO = (
    "CANDIDATE is missing: give two captures to compare, or one directory with text dumps py_*.txt "
    "and cpp_*.txt of both"
)


class Threshold(click.ParamType):
    """`METRIC=VALUE` as `(metric, value)`; the value is finite and not negative."""

    name = "METRIC=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        metric, equals, text = str(value).partition("=")
        if not equals:
            self.fail(f"{value!r} is not METRIC=VALUE, such as mse=1e-4", param, ctx)
        if metric not in METRICS:
            self.fail(f"no metric {metric!r}; known are {', '.join(METRICS)}", param, ctx)
        return metric, _number(text, self, param, ctx)


class Tolerance(click.ParamType):
    """A finite number that is not negative."""

    name = "NUMBER"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        return _number(str(value), self, param, ctx)


class Range(click.FloatRange):
    """As click's, which lets NaN through: no comparison with it is true."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


class RawType(click.ParamType):
    """Shape and dtype of raw files, `10x64xf32`; kept as text."""

    name = "10x64xf32"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from ..capture.errors import CaptureError
        from ..capture.formats.raw_binary import parse_raw

        try:
            parse_raw(str(value))
        except CaptureError as error:
            self.fail(str(error).partition(": ")[2], param, ctx)
        return str(value)


class LayersType(click.ParamType):
    """`0:5`, `3:`, or one layer as `4`."""

    name = "FIRST:END"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> LayerRange:
        from ..capture.layer_range import LayerRange

        if isinstance(value, LayerRange):
            return value
        try:
            return LayerRange.parse(str(value))
        except ValueError as error:
            self.fail(f"{error}; layers are 0:5, 3: or 4", param, ctx)


def _number(
    text: str, kind: click.ParamType, param: click.Parameter | None, ctx: click.Context | None
) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0:
        kind.fail(f"{text!r} is not a number of 0 or more", param, ctx)
    return number


class Device(click.ParamType):
    """`cpu`, `cuda` (also called `gpu`), one GPU (`cuda:1`), or `auto`."""

    name = "cpu|cuda|cuda:N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        word = re.sub(r"^gpu(?=$|:)", "cuda", str(value))
        if word not in ("cpu", "cuda", "auto") and not re.fullmatch(r"cuda:\d{1,3}", word):
            self.fail(f"{value!r} is not cpu, cuda, cuda:N or auto", param, ctx)
        return word


RULES = click.option(
    "--rules", type=click.Path(exists=True, dir_okay=False), default=None,
    help="TOML file: names, fused modules, layouts, pairs.",
)  # fmt: skip
RAW = click.option(
    "--raw", "--shape", "raw", type=RawType(), default=None, metavar="10x64xf32",
    help="Shape and dtype of raw files without a log, and of text files without a header."
)  # fmt: skip
THREADS = click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=None,
    help="Measure this many pairs at a time; as many as there are cores if not given.",
)
NO_CACHE = click.option(
    "--no-cache", is_flag=True, help="Measure again, ignoring cached results."
)  # fmt: skip
LAYERS = click.option(
    "--layers", type=LayersType(), default=None, metavar="0:5",
    help="Compare only these layers (here 0 to 4) and what comes before the first layer.",
)  # fmt: skip
BEFORE = click.option(
    "--before", default=None, metavar="DIR", type=click.Path(),
    help="An earlier capture of the candidate: what has changed since is said.",
)  # fmt: skip
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace files that exist.")


def output_option(goes: str) -> Callable[[Command], Command]:
    """`--output FILE`; `goes` says what goes there: `the report goes`."""
    return click.option(
        "-o", "--output", default="-", metavar="FILE", type=click.Path(),
        help=f"Where {goes}; - is standard output.",
    )  # fmt: skip


def device_option(what: str, default: str = "auto") -> Callable[[Command], Command]:
    """`--device`; `what` runs there: `the model runs`."""
    return click.option(
        "--device", "--devices", type=Device(), default=default, show_default=True,
        help=f"Where {what}.",
    )  # fmt: skip


def form_option(
    forms: Sequence[str], what: str, purposes: str = ""
) -> Callable[[Command], Command]:  # fmt: skip
    """`--format FORM`, by default the first of `forms`; `purposes` says what each is for."""
    return click.option(
        "--format", "form", type=click.Choice(forms), default=forms[0], show_default=True,
        help=f"Format of {what}{': ' if purposes else ''}{purposes}.",
    )  # fmt: skip


def judging_options(command: Command) -> Command:
    """`--metric`, `--policy` and what sets its limits, `--thresholds`, `--rules`, `--raw`,
    `--min-coverage`, `--allow-early-end`, `--allow-reshape`.
    """
    for option in reversed(_JUDGING):
        command = option(command)
    return command


_JUDGING = (
    click.option(
        "--metric", type=click.Choice(list(METRICS)), default="mse", show_default=True,
        help="Metric shown in the badge of each row.",
    ),
    click.option(
        "--policy", type=click.Choice(POLICIES), default=None,
        help="How verdicts are made: by where a row's error comes from, by limits for its dtype, "
        "or by fixed limits.  [default: noise; with --rtol: dtype; with --threshold: fixed]",
    ),
    click.option(
        "--baseline", "baselines", type=click.Path(), multiple=True, metavar="DIR",
        help="Another run of the reference: its noise is the floor. May be repeated.",
    ),
    click.option(
        "--exact", type=click.Path(), default=None, metavar="DIR",
        help="A run in higher precision: shows which side is off.",
    ),
    click.option(
        "--threshold", "thresholds", type=Threshold(), multiple=True,
        help="A limit of the policy `fixed`; may be repeated.",
    ),
    click.option(
        "--thresholds", "thresholds_file", type=click.Path(exists=True, dir_okay=False),
        default=None, metavar="FILE",
        help="Limits for each layer, made by `layertui thresholds`; other layers are judged by "
        "the policy.",
    ),
    click.option("--rtol", type=Tolerance(), default=None, help="Relative tolerance, with --atol."),
    click.option("--atol", type=Tolerance(), default=None, help="Absolute tolerance, with --rtol."),
    RULES,
    RAW,
    click.option(
        "--min-coverage", type=Range(0, 1), default=0.5, metavar="SHARE",
        show_default=True,
        help="Share of the outputs that must be paired for exit status 0.",
    ),
    click.option(
        "--allow-early-end", is_flag=True,
        help="The candidate may end before the reference does.",
    ),
    click.option(
        "--allow-reshape", is_flag=True,
        help="Where no known layout fits, compare records of equal numbers of elements in C order.",
    ),
)  # fmt: skip


def candidate_model_option(text: str) -> Callable[[Command], Command]:
    """`--candidate-model`; `text` says what it is for."""
    return click.option("--candidate-model", metavar="DIR|FILE", default=None, help=text)


def model_options(command: Command) -> Command:
    """`--reference-model` and `--candidate-model`: the checkpoints of both captures, remembered
    for them. `JudgingOptions` takes them.
    """
    command = candidate_model_option("The candidate's checkpoint, where it is a different one.")(
        command
    )
    return click.option(
        "--reference-model", metavar="DIR|FILE", default=None,
        help="Checkpoint that the captures were made from: its weights determine what every layer "
        "should output.  [default: as captured, or as given before]",
    )(command)  # fmt: skip


def captures_of_both_sides(reference: str, candidate: str | None) -> tuple[str, str]:
    """Both captures, where one directory may hold the text dumps of both sides. Raises `UserError`
    where it does not.
    """
    from ..capture.cases import holds_both_sides
    from .errors import UserError

    if candidate is not None:
        return reference, candidate
    if not holds_both_sides(reference):
        raise UserError(
            f"{reference}: give two captures to compare, or one directory with text dumps "
            "py_*.txt and cpp_*.txt"
        )
    return reference, reference


def two_captures(command: Command) -> Command:
    """The arguments REFERENCE and CANDIDATE; one directory with the text dumps of both sides is
    enough.
    """

    @wraps(command)
    def with_both(*args: Any, reference: str, candidate: str | None, **more: Any) -> Any:
        candidate, more = _second_capture(reference, candidate, more)
        return command(*args, reference=reference, candidate=candidate, **more)

    arguments = (("candidate", False), ("reference", True))
    for name, required in arguments:
        with_both = click.argument(name, type=click.Path(), required=required)(with_both)
    return cast(Command, with_both)


def _second_capture(
    reference: str, candidate: str | None, more: dict[str, Any]
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """The candidate, and the arguments behind it. Where REFERENCE holds both sides, what stands in
    the candidate's place is a layer, if no such directory is there. Raises `UserError`.
    """
    from ..capture.cases import holds_both_sides
    from ..capture.storage import is_url

    if candidate is None:
        if holds_both_sides(reference):
            return reference, more
        raise UserError(f"{reference}: {ONE_OR_TWO}")
    if os.path.lexists(candidate) or is_url(candidate) or not holds_both_sides(reference):
        return candidate, more
    if more.get("layer", "") is None:
        return reference, {**more, "layer": candidate}
    if "layers_wanted" in more:
        return reference, {**more, "layers_wanted": (candidate, *more["layers_wanted"])}
    return candidate, more
