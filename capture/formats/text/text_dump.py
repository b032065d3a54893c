"""Text dumps of C++ inference engines: `#` header lines, then one value a line.

    # Tensor: layer_0_attn_q_proj_raw
    # Shape: 1x3x2048
    # Total elements: 6144
    # Data type size: 4 bytes
    # Special values - NaN: 0, Inf: 0, Zero: 3
    # First 50 elements:
    -1.234567e-02
    ...
    # Last 50 elements:

Up to 1000 elements stand there in full. A dump in half precision shows the first 100 elements as
`0x3c00 (1.000000e+00)`. `py_` and `cpp_` before the name tell the side. Nothing is allocated by
what a header promises: only values that are in the file take memory.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import RecordError
from ...files import FoundFile
from ...records import Locator, Record
from ...storage import first_bytes, size_of
from ..context import Context
from ..members import named_record
from ..raw_binary import parse_raw
from .dump_lines import CHEAP, read_dump
from .dump_shape import MARK

if TYPE_CHECKING:
    from ...values import Array, PartialValues

_SIDES = ("py", "cpp")
# A header line, with or without a comment's sign: `# Shape: 1x3`, `shape = (1, 3)`, `// dims: 1 3`.
_MARKS = re.compile(
    rf"{MARK}(?:tensor(?: name)?\s*:|(?:tensor )?(?:shape|dims?|dimensions)\s*[:=]\s*"
    r"(?:torch\.Size)?[\[({]*\s*\d)",
    re.MULTILINE | re.IGNORECASE,
)
_PEEK = 4096


def recognise(found: FoundFile, context: Context) -> bool:
    """`.txt` files that begin with `py_` or `cpp_`, or with the header lines of such a dump."""
    if _side(found) is not None:
        return True
    if found.problem is not None:
        return False
    try:
        return bool(_MARKS.search(first_bytes(found.path, _PEEK).decode("utf-8", "replace")))
    except OSError:
        return False


def unread(found: FoundFile) -> Record:
    """The record of a file by its name; the prefix goes to `Record.side`."""
    side = _side(found)
    name = found.stem
    if side is not None:
        folder, _, base = name.rpartition("/")
        base = base[len(side) + 1 :]
        name = f"{folder}/{base}" if folder else base
    return replace(named_record(found, name), side=side)


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """The record of a file; `--raw` says the shape of one that has no header."""
    record = unread(found)
    if context.raw is not None:
        record.dtype, record.shape = parse_raw(context.raw)
    return [record]


def read_header(record: Record) -> list[Record]:
    """Complete `record`; `partial` when the header says that only some elements are shown.

    Files up to 1 MiB are read through, so that a wrong count shows at once; larger ones are
    counted when they are loaded.
    """
    size = size_of(record.path)
    if size <= CHEAP:
        dump = read_dump(record.path, record.shape)
        shown = dump.check_counts()
    else:
        dump = read_dump(record.path, record.shape, head_only=True)
        shown = dump.promised()
        if 2 * shown > size:
            raise RecordError(f"truncated: {shown} values promised, the file is too short for them")
    shape, total = dump.shape_and_total()
    locator = Locator(record.path, dump.locator_dtype(), shape, reader="text")
    return [
        replace(
            record, shape=shape, dtype=dump.dtype, locator=locator,
            partial=None if shown == total else (shown, total), stats=dump.stats() or None,
        )
    ]  # fmt: skip


def load_values(locator: Locator) -> Array | PartialValues:
    """All values of the dump as an array of the shape, or those that it shows with positions.

    Raises `RecordError` when the values are not as many as the header says, or are no numbers.
    """
    import numpy as np

    from ...values import PartialValues

    dump = read_dump(locator.path, locator.shape)
    shown = dump.check_counts()
    shape, total = dump.shape_and_total()
    if shape != locator.shape or dump.locator_dtype() != locator.dtype:
        raise RecordError("the file changed after its header was read")
    values = dump.values()
    if shown == total:
        return values.reshape(shape)
    tail = len(dump.last)
    positions = np.arange(shown, dtype=np.int64)
    positions[shown - tail :] += total - shown
    return PartialValues(values, positions, shape)


def _side(found: FoundFile) -> str | None:
    base = found.name[found.name.rfind("/") + 1 :]
    return next((side for side in _SIDES if base.startswith(side + "_")), None)
