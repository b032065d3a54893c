"""The numbers of a pair once more: plainly, in one piece, in extended precision."""

from __future__ import annotations

from typing import Any

import numpy as np

from layertui.compare.measuring.measure import finish
from layertui.compare.measuring.sums import Sums, Tolerance
from layertui.compare.model import Measurement

Numbers = dict[str, Any]


def measured(
    x: np.ndarray, y: np.ndarray, tolerance: Tolerance | None = None, block: int = 1 << 16
) -> Measurement:
    """The program's numbers of two 1-D arrays of reals, cut into blocks of this size."""
    tolerance = tolerance or Tolerance(1.3e-6, 1e-5)
    sums = Sums(tolerance)
    for start in range(0, x.size, block):
        sums.add(x[start : start + block], y[start : start + block], start)
    return finish(sums, x.shape, tolerance, bool(tolerance.ulp_dtype))


def plain(x: np.ndarray, y: np.ndarray) -> Numbers:
    """Every number by its definition; None where the definition divides by zero."""
    with np.errstate(invalid="ignore"):  # NaN of the signalling kind
        a, b = x.astype(np.longdouble), y.astype(np.longdouble)
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    if a.size == 0:
        return {}
    d = b - a
    xx, yy, dd = (a * a).sum(), (b * b).sum(), (d * d).sum()
    ac, bc = a - a.mean(), b - b.mean()
    xx_c, yy_c = (ac * ac).sum(), (bc * bc).sum()
    rel = np.abs(d) / np.maximum(np.abs(a), 1e-8)
    out: Numbers = {
        "mse": dd / a.size, "rmse": np.sqrt(dd / a.size), "mean_abs": np.abs(d).mean(),
        "nmse": dd / xx if xx else None, "relative_l2": np.sqrt(dd / xx) if xx else None,
        "cosine": (a * b).sum() / np.sqrt(xx * yy) if xx and yy else None,
        "pearson": (ac * bc).sum() / np.sqrt(xx_c * yy_c) if xx_c and yy_c else None,
        "sqnr_db": 10 * np.log10(xx / dd) if xx and dd else None,
        "max_abs": np.abs(d).max(), "max_rel": rel.max(), "compared": a.size,
    }  # fmt: skip
    out.update(_fit(ac, bc, a, b, xx) if xx_c else dict.fromkeys(("scale", "offset", "scale_se",
                                                                    "fit_residual")))  # fmt: skip
    return {k: v if v is None else float(v) for k, v in out.items()}


def _fit(ac: np.ndarray, bc: np.ndarray, a: np.ndarray, b: np.ndarray, xx: Any) -> Numbers:
    scale = (ac * bc).sum() / (ac * ac).sum()
    offset = b.mean() - scale * a.mean()
    rest = ((b - scale * a - offset) ** 2).sum()
    se = np.sqrt(rest / (a.size - 2) / (ac * ac).sum()) if a.size > 2 else None
    return {"scale": scale, "offset": offset, "scale_se": se, "fit_residual": np.sqrt(rest / xx)}


def side(x: np.ndarray) -> Numbers:
    """Statistics of one side."""
    fine = x[np.isfinite(x)].astype(np.longdouble)
    return {
        "min": fine.min(), "max": fine.max(), "mean": fine.mean(), "std": fine.std(),
        "l2": np.sqrt((fine * fine).sum()), "nan": int(np.isnan(x).sum()),
        "inf": int(np.isinf(x).sum()), "zeros": int((x == 0).sum()),
    }  # fmt: skip
