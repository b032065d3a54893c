"""Two captures compared: alignment, measurements, verdicts, reports. No terminal in here.

The names of `__all__` are the public face, which stays as it is; every module below is private.

- `open_comparison(reference, candidate, ...)` -> `Comparison`, aligned and not yet measured
- `Comparison`: `measure()`, `rows`, `measurements`, `verdicts`, `first_divergence()`,
  `exit_status()`
- `Row`, `Measurement`, `Verdict`: of one pair or gap; entries of one index belong together
- `json_report(comparison, command)` -> the object that `layertui compare --format json` prints
- `assert_captures_match(reference, candidate, ...)`: for tests

They are imported when they are first used: a test module that only imports the helper does not pay
for numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparison import Comparison, open_comparison
    from .model import Measurement, Row, Verdict
    from .reports.forms.json_form import json_report
    from .testing import assert_captures_match

__all__ = [
    "Comparison",
    "Measurement",
    "Row",
    "Verdict",
    "assert_captures_match",
    "json_report",
    "open_comparison",
]

_HOMES = {
    "Comparison": "comparison",
    "Measurement": "model",
    "Row": "model",
    "Verdict": "model",
    "assert_captures_match": "testing",
    "json_report": "reports.forms.json_form",
    "open_comparison": "comparison",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
