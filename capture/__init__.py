"""What is on disk: captures, their records and the formats that hold them; and what records them.

The names of `__all__` are the public face, which stays as it is; every module below is private.

- `record(model, path, ...)`, `tap(name, tensor)`: record a running model, with the extra `torch`
- `add_tree(tree, path=...)`: nested dictionaries of arrays; `record_flax(module, variables, ...)`:
  a Flax module with what every module in it returns
- `open_capture(path)` -> `Capture`; `read_headers(capture)` completes dtypes and shapes
- `Record`, `Locator`: a tensor of a capture, and where its bytes lie
- `CaptureError`, `RecordError`: a capture that cannot be opened, a record that cannot be read

They are imported when they are first used: a program that only needs a record's class does not pay
for every file format.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import CaptureError, RecordError
    from .open import open_capture, read_headers
    from .recorder.api import record
    from .recorder.flax import record_flax
    from .recorder.tap import tap
    from .recorder.tree_of_arrays import add_tree
    from .records import Capture, Locator, Record

__all__ = [
    "Capture",
    "CaptureError",
    "Locator",
    "Record",
    "RecordError",
    "add_tree",
    "open_capture",
    "read_headers",
    "record",
    "record_flax",
    "tap",
]

_HOMES = {
    "Capture": "records",
    "CaptureError": "errors",
    "Locator": "records",
    "Record": "records",
    "RecordError": "errors",
    "add_tree": "recorder.tree_of_arrays",
    "open_capture": "open",
    "read_headers": "open",
    "record": "recorder.api",
    "record_flax": "recorder.flax",
    "tap": "recorder.tap",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "torch":
            raise
        from .extras import needs

        text = needs("torch", f"{__name__}.{name}")
        raise ModuleNotFoundError(text, name="torch") from None
    return getattr(home, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
