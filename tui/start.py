"""Building and running the application; the first module that imports textual."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..capture.first_names import first_names
from ..capture.names import parse_name
from ..capture.records import Capture, Record
from ..capture.storage import is_url
from .app import LayertuiApp, exit_status
from .jobs.compare_job import Request
from .list.limits import limits_of
from .state import remembered_metric

if TYPE_CHECKING:
    from ..compare.judging.policy import Policy
    from ..compare.rules.rules import Rules
    from ..compare.weights.models import ModelPaths
    from .list.folds.list_lines import Start
    from .terminal import Terminal


def start(
    reference: str, candidate: str, terminal: Terminal, *, rules: Rules | None,
    policy: Policy | None, rtol: float | None, atol: float | None, metric: str | None, mouse: bool,
    raw: str | None, rules_path: str | None = None,
    options: tuple[str, ...] = (), export: str | None = None, models: ModelPaths | None = None,
    min_coverage: float = 0.5, allow_early_end: bool = False, fold: Start = "auto",
    before: str | None = None, watch: bool = False,
) -> int:  # fmt: skip
    """Run the application and give its exit status."""
    metric = metric or remembered_metric()
    request = Request(
        reference, candidate, rules, policy, raw, rtol, atol, metric == "ulp", models,
        min_coverage, allow_early_end, rules_path=rules_path,
    )  # fmt: skip
    limits = limits_of(policy, rtol, atol)
    names = (peeked(reference), peeked(candidate))
    app = LayertuiApp(request, terminal=terminal, metric=metric, limits=limits, names=names,
                      rules_path=rules_path, options=options, export=export, fold=fold,
                      before=before, watch=watch)  # fmt: skip
    app.run(mouse=mouse)
    return exit_status(app)


def peeked(path: str) -> Capture:
    """The first names of a capture, to be looked at while it is opened."""
    records: list[Record] = []
    for name in [] if is_url(path) else first_names(path):  # a server may take its time
        parsed = parse_name(name)
        records.append(Record(name, parsed.module, parsed.slot, parsed.call))
    root = "model" if any(record.module == "model" for record in records) else ""
    return Capture(path, "", records, "unknown", False, root)
