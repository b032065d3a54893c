"""Whether parts that ranks have add up to a tensor that is recorded, too."""

from __future__ import annotations

from ..dtypes import DTYPES
from .groups import Group

# Sums of a few numbers of a narrow type are off by some units in their last place, and what is
# added up in another order by some more; parts that do not belong together are off by their size.
_UNITS = 8
_APART = 0.05  # relative L2 of a part to the whole: one that is the whole itself shows no sum


def is_sum_shown(group: Group, whole: Group) -> bool:
    """Whether the parts add up to the whole, and none of them is near it by itself."""
    import numpy as np

    from ..values import upcast

    parts, target = group.samples, whole.samples
    dtype = group.first.dtype or ""
    if parts is None or target is None or dtype != whole.first.dtype or not group.is_float:
        return False
    with np.errstate(all="ignore"):
        wide = [upcast(part, dtype).astype(np.float64) for part in parts]
        end = upcast(target[0], dtype).astype(np.float64)
        norm = float(np.linalg.norm(end))
        error = float(np.linalg.norm(sum(wide) - end))
        size = max(float(np.linalg.norm(part)) for part in wide)
        nearest = min(float(np.linalg.norm(part - end)) for part in wide)
    limit = _UNITS * DTYPES[dtype].epsilon * max(size, norm)
    return norm > 0 and error <= limit and nearest > _APART * norm
