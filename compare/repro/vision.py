"""Templates of vision models: convolution, pooling, layer scale. The windows that the sampled
places look at are in the data, so that steps and paddings need not be said again.
"""

from __future__ import annotations

import numpy as np

from ...capture.values import Array
from ..laws.law import Case
from ..laws.numerics.rounding import on_grid
from ..laws.vision.convolution import Kernel
from ..laws.vision.pooling import Pool
from ..laws.vision.windows import BEYOND, gathered
from .material import Material, Subject


def convolution(subject: Subject) -> Material:
    """Windows `[places, groups, inputs x size]` and the kernel `[groups, outputs, inputs x
    size]`."""
    kernel: Kernel = subject.place.fit.values["kernel"]
    weight = kernel.weight
    sided: list[Array] = []
    groups = 1
    for case in subject.cases:
        found, outside = gathered(
            kernel.window, case.more["images"], case.rows, case.more["result"]
        )  # fmt: skip
        groups = found.shape[1] // weight.shape[1]
        found = np.where(outside[:, None] < 0, 0.0, found)
        sided.append(found.reshape(len(found), groups, -1))
    shared = {
        name: own.reshape(groups, len(weight) // groups, -1)
        for name, own in _weights(kernel, subject.cases).items()
    }
    lines = [
        'x = tensor(f"{side}_x")', 'w = tensor(f"{side}_weight")',
        'y = torch.einsum("pgk,gok->pgo", x, w).flatten(1)',
    ]  # fmt: skip
    constant: dict[str, Array] = {}
    if kernel.bias is not None:
        lines.append('y = y + tensor("bias")')
        constant["bias"] = kernel.bias
    lines.append("return y")
    weights = (shared["reference"], shared["candidate"])
    return Material(_expected(lines), constant, {"x": (sided[0], sided[1]), "weight": weights})


def _weights(kernel: Kernel, cases: tuple[Case, Case]) -> dict[str, Array]:
    """The kernel as each side has loaded it."""
    return {case.side: kernel.loaded(case.units["output"]) for case in cases}


def pooling(subject: Subject) -> Material:
    """Windows `[places, channels, size]`, NaN outside of the image, and what their mean is of."""
    pool: Pool = subject.place.fit.values["pool"]
    windows: list[Array] = []
    counts: list[Array] = []
    for case in subject.cases:
        found, outside = gathered(pool.window, case.more["images"], case.rows, case.more["result"])
        empty = -np.inf if pool.of == "greatest value" else 0.0
        windows.append(np.where((outside < 0)[:, None], empty, found))
        counted = outside > BEYOND if pool.padding_counts else outside == 0
        counts.append(np.maximum(counted.sum(1, keepdims=True), 1))
    sided = {"x": (windows[0], windows[1])}
    if pool.of == "greatest value":
        return Material(_expected(['return tensor(f"{side}_x").amax(2)']), {}, sided)
    sided["count"] = (counts[0], counts[1])
    lines = ['return tensor(f"{side}_x").sum(2) / tensor(f"{side}_count")']
    return Material(_expected(lines), {}, sided)


def layer_scale(subject: Subject) -> Material:
    """The input, and the weight as each side has loaded it."""
    fit = subject.place.fit
    left, right = (
        on_grid(fit.values["weight"], case.units["output"])
        if fit.read and 2.0**-12 < case.units["output"] <= 2.0**-8 else fit.values["weight"]
        for case in subject.cases
    )  # fmt: skip
    lines = ['return tensor(f"{side}_x") * tensor(f"{side}_weight")']
    return Material(_expected(lines), {}, {"x": subject.inputs("x"), "weight": (left, right)})


def _expected(lines: list[str]) -> str:
    return "def expected(side):\n" + "".join(f"    {line}\n" for line in lines)
