"""The test and its data: rendered, and written to a directory."""

from __future__ import annotations

import io
import os
import re
import textwrap
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...capture.values import Array
from ..laws.law import Case, Prediction
from ..laws.numerics.local_error import local_error
from ..measuring.bounded_sample import UNREADABLE
from ..reports.escaping import clean
from .material import Material, Subject, check_size, packed
from .place import Cancelled, NothingToReproduceError, Place, place_of
from .templates import TEMPLATES, WITHOUT

if TYPE_CHECKING:
    from ...capture.records import Capture
    from ..comparison import Comparison

DATA = "data.npz"
_MARK = "# Written by `layertui repro`"
_SIDES = ("reference", "candidate")
_HEAD = """\
{about}
from pathlib import Path

import numpy as np
import torch

DATA = np.load(Path(__file__).with_name("{data}"), allow_pickle=False)
# What the errors may be, in units of the rounding that is predicted for each element.
LIMITS = {limits}


def tensor(name):
    values = torch.from_numpy(DATA[name])
    return values.double() if values.is_floating_point() else values


# The law of the layer, in float64.

"""
_TAIL = """

def check(side):
    recorded, value = tensor(f"{side}_output"), expected(side)
    spread, fine = tensor(f"{side}_spread"), torch.isfinite(value)
    assert torch.isfinite(recorded[fine]).all(), f"the {side} has NaN or Inf"
    error = torch.where(fine, recorded - value, 0.0)
    spread = torch.where(fine, spread, 0.0)
    e2, s2, value = error.square(), spread.square(), torch.where(fine, value, 0.0)
    row, channel = ratio(e2.sum(1), s2.sum(1)), ratio(e2.sum(0), s2.sum(0))
    groups, group_of = int(DATA["group_of"].max()) + 1, tensor("group_of")
    none = torch.zeros(groups).double()
    group = ratio(*(none.index_add(0, group_of, squares.sum(0)) for squares in (e2, s2)))
    weight = fine / s2.clamp(min=max(float(s2.max()) * 1e-12, 1e-300))
    size = (weight * value.square()).sum()
    gain = (weight * value * error).sum() / size if size > 0 else torch.zeros(())
    found = {
        "the median row": row.quantile(0.5),
        "the greatest row": row.max(),
        "the greatest channel": channel.max(),
        "the greatest head": group.max() if groups > 1 else torch.zeros(()),
        "a common factor less 1": gain.abs(),
    }
    beyond = [
        f"{name}: {float(found[name]):.4g}, at most {LIMITS[name]:.4g}"
        for name in LIMITS
        if not found[name] <= LIMITS[name]
    ]
    assert not beyond, f"the {side} does not compute what its inputs imply: " + "; ".join(beyond)


def ratio(error, spread):
    return torch.where(error > 0, (error / spread.clamp(min=1e-300)).sqrt(), 0.0)


def test_reference():
    check("reference")


def test_candidate():
    check("candidate")
"""


@dataclass(frozen=True)
class Reproduction:
    """A test that can be written: its file's name, its text, the content of its data file.
    `broken` says that the candidate fails.
    """

    layer: str
    label: str
    name: str
    text: str
    data: bytes
    broken: bool


def reproduction(
    comparison: Comparison, layer: str | None = None, cancelled: Cancelled | None = None
) -> Reproduction:  # fmt: skip
    """The test of a layer; without a name that of the first divergence. `comparison` must have been
    measured.

    Raises `NothingToReproduceError`, and `CancelledError`.
    """
    place = place_of(comparison, layer, cancelled)
    _check_shown(place)
    template = TEMPLATES.get(place.row.local.law)
    if template is None:
        raise NothingToReproduceError(
            f"{place.row.label}: no test can be made of the {place.row.local.law} law: "
            + WITHOUT.get(place.row.local.law, "it has no template")
        )
    try:
        material = template(Subject(place))
    except (*UNREADABLE, IndexError) as error:
        raise NothingToReproduceError(f"{place.row.label}: {error}") from error
    check_size(place.row.label, material)
    head = _HEAD.format(about=_about(comparison, place, material), data=DATA,
                        limits=_limits(place))  # fmt: skip
    name = f"test_{plain_name(place)}.py"
    return Reproduction(
        place.row.module, place.row.label, name, head + material.code + _TAIL,
        _data(place, material), place.row.state == "breaks",
    )  # fmt: skip


def _check_shown(place: Place) -> None:
    """Refuse a fault that the test would not show: a term of a sum whose factor is off by less than
    the rounding of one element. Raises `NothingToReproduceError`.
    """
    allowed = place.row.limits
    if place.row.state != "breaks" or allowed is None:
        return
    with np.errstate(all="ignore"):
        error = local_error(place.cases[1], place.predictions[1], place.site.groups)
    shown = (
        error.ratio > allowed.ratio, error.row.ratio > allowed.row,
        error.channel.ratio > allowed.channel, error.group.ratio > allowed.group,
        abs(error.gain - 1.0) > allowed.gain, error.bad > 0,
    )  # fmt: skip
    if not any(shown):
        raise NothingToReproduceError(
            f"{place.row.label}: its fault is below the rounding of single elements, so that no "
            f"test of them shows it ({place.row.where})"
        )


def plain_name(place: Place) -> str:
    """`layers_0_self_attn_q_norm`: what a file of Python can be called."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", place.row.module).strip("_").lower()
    return name[:80] or "layer"


def write(found: Reproduction, folder: str, overwrite: bool = False) -> tuple[str, str]:
    """Write the test and its data; the paths of both. Of what is in the directory only files of an
    earlier reproduction are replaced.

    Raises `NothingToReproduceError` where the directory is not empty (unless `overwrite`), or
    cannot be written.
    """
    check_folder(folder, overwrite)
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        for old in place.glob("test_*.py"):
            if old.name != found.name and _is_ours(old):
                old.unlink()
        for name, content in ((DATA, found.data), (found.name, found.text.encode())):
            temporary = place / f".{name}.part"
            temporary.write_bytes(content)
            temporary.replace(place / name)
    except OSError as error:
        reason = error.strerror or error
        raise NothingToReproduceError(f"{folder}: cannot be written: {reason}") from error
    return os.path.join(folder, found.name), os.path.join(folder, DATA)


def check_folder(folder: str, overwrite: bool) -> None:
    """Refuse a place that cannot be written before any work is done for it. Raises
    `NothingToReproduceError`.
    """
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise NothingToReproduceError(f"{folder}: a file, not a directory")
    if os.path.isdir(folder) and os.listdir(folder) and not overwrite:
        raise NothingToReproduceError(f"{folder}: not empty (--overwrite replaces what is there)")


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MARK)) == _MARK.encode()


def _limits(place: Place) -> str:
    allowed = place.row.limits
    assert allowed is not None
    names = {
        "the median row": allowed.ratio, "the greatest row": allowed.row,
        "the greatest channel": allowed.channel, "the greatest head": allowed.group,
        "a common factor less 1": allowed.gain,
    }  # fmt: skip
    return (
        "{\n"
        + "".join(f'    "{name}": {value!r},\n' for name, value in names.items() if isfinite(value))
        + "}"
    )


def _data(place: Place, material: Material) -> bytes:
    arrays: dict[str, Array] = {name: packed(v) for name, v in material.shared.items()}
    for name, values in material.sided.items():
        for side, part in zip(_SIDES, values, strict=True):
            arrays[f"{side}_{name}"] = packed(part)
    kept: Array | slice = slice(None) if material.channels is None else material.channels
    for side, case, prediction in zip(_SIDES, place.cases, place.predictions, strict=True):
        arrays[f"{side}_output"] = packed(case.output[:, kept])
        arrays[f"{side}_spread"] = _spread(case, prediction)[:, kept]
        arrays[f"{side}_rows"] = case.rows
    width = place.cases[1].output.shape[1]
    channels = np.arange(width)[kept]
    arrays["channels"] = channels
    groups = place.site.groups
    parted = groups > 1 and width % groups == 0
    size = width // groups if parted else width
    arrays["group_of"] = channels // size
    out = io.BytesIO()
    np.savez(out, **arrays)  # pyright: ignore[reportArgumentType]
    return out.getvalue()


def _spread(case: Case, prediction: Prediction) -> Array:
    """In float64 only where it is too small for float32."""
    spread = np.broadcast_to(prediction.spread, case.output.shape)
    small = spread[spread > 0]
    fits = not small.size or (small.min() > 1e-37 and small.max() < 1e37)
    return spread.astype(np.float32) if fits else spread


def _about(comparison: Comparison, place: Place, material: Material) -> str:
    """What the test is about, as comments: nothing that a file says becomes code."""
    row = place.row
    law = ", ".join(f"{name} {value}" for name, value in row.parameters)
    lines = [
        f"{_MARK[2:]}; needs torch, numpy and pytest, and {DATA} beside it.", "",
        f"{row.label}: its output on both sides for the inputs that it had there, against what it "
        "should be.", "",
        f"reference: {_side(comparison.reference)}",
        f"candidate: {_side(comparison.candidate)}",
        f"law: {row.local.law}" + (f" ({law})" if law else ""),
    ]  # fmt: skip
    shown = f"rows: {len(np.unique(place.cases[1].rows))} of {row.sampled[1]}"
    if material.channels is not None:
        shown += f", channels: {len(material.channels)} of {place.cases[1].output.shape[1]}"
    lines.append(shown + f" ({DATA} says which)")
    if row.derived:
        lines.append(f"inputs that were not recorded: {', '.join(row.derived)}")
    if row.state == "breaks":
        lines += ["", f"The candidate fails: {row.words}."]
    else:
        lines += ["", "Both sides satisfy the law: both tests pass."]
    return "\n".join(_comment(line) for line in lines) + "\n"


def _side(capture: Capture) -> str:
    who = " ".join(part for part in (capture.framework, capture.framework_version) if part)
    return f"{capture.path}" + (f" ({who})" if who else "")


def _comment(line: str) -> str:
    if not line:
        return "#"
    text = clean(line).replace("\n", " ").replace("\r", " ")
    return "\n".join(f"# {part}" for part in textwrap.wrap(text, 96, break_on_hyphens=False))
