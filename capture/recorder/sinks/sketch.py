"""What a capture without values keeps of where a tensor's elements stand: a hash of its bytes and
the summary of `projections`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...dtypes import DTYPES
from ...projections import digest_of, summary_of
from ...values import upcast
from .snapshot import Snapshot


def position_sensitive(taken: Snapshot) -> dict[str, Any]:
    """`hash` and `sketch` of a tensor on the host."""
    raw = np.asarray(taken.raw())
    elements = raw.view(DTYPES[taken.dtype].storage).reshape(taken.shape)
    if taken.dtype == "bool":
        elements = elements.view(np.uint8) != 0
    values = upcast(elements, taken.dtype)
    return {"hash": digest_of((raw,), taken.dtype), "sketch": summary_of(values)}
