"""For tests: two captures match, or the test fails with the first divergence in words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from .checks.finding import Finding
    from .comparison import Comparison
    from .judging.policy import Policy
    from .rules.rules import Rules

PathLike = str | os.PathLike[str]
_MOST = 10  # rows that a message names


def assert_captures_match(
    reference: PathLike, candidate: PathLike, *, policy: str | Policy = "default",
    threshold: Mapping[str, float] | None = None, thresholds: PathLike | None = None,
    rtol: float | None = None, atol: float | None = None, rules: PathLike | Rules | None = None,
    min_coverage: float = 0.5, allow_gaps: bool = True, check: bool = True,
    raw: str | None = None, reference_model: PathLike | None = None,
    candidate_model: PathLike | None = None, executor: Executor | None = None,
) -> Comparison:  # fmt: skip
    """Compare two captures as `layertui compare` does; returns the measured comparison.

    `policy` is a name or a policy, `threshold` limits by metric (for the policy `fixed`),
    `thresholds` a file made by `layertui thresholds`, `rules` a rules file. With `allow_gaps=False`
    every record needs a partner; `check` fails also for captures that cannot be compared
    (other token ids, stale buffers, missing steps). `reference_model` and `candidate_model` are
    the checkpoints of the two runs. Pairs are measured, laws checked and samples read on
    `executor`, any of `concurrent.futures` or of its kind (a cluster's, whose workers find the
    captures by the same names); without it in threads.

    Raises `AssertionError` that names the first divergence, its reason and what follows it;
    `CaptureError` for a capture or checkpoint that cannot be opened, `RulesError` and
    `PolicyError` for bad limits.
    """
    __tracebackhide__ = True  # pytest shows the caller's line
    from .comparison import open_comparison
    from .judging.options import JudgingOptions
    from .rules.rules import Rules
    from .running.measuring import workers_on
    from .tasks.on_executor import tasks_on

    loaded = rules if isinstance(rules, Rules) else None
    options = JudgingOptions(
        policy=policy if isinstance(policy, str) and policy != "default" else None,
        thresholds=tuple((threshold or {}).items()), thresholds_file=_path(thresholds),
        rtol=rtol, atol=atol, rules=None if isinstance(rules, Rules) else _path(rules), raw=raw,
        min_coverage=min_coverage, reference_model=_path(reference_model),
        candidate_model=_path(candidate_model),
    )  # fmt: skip
    with tasks_on(workers_on(executor)):
        comparison = open_comparison(
            os.fspath(reference), os.fspath(candidate), rules=options.make_rules(loaded),
            policy=options.make_policy() if isinstance(policy, str) else policy,
            raw=raw, rtol=rtol, atol=atol, ulp=options.wants_ulp, min_coverage=min_coverage,
        )  # fmt: skip
        comparison.use_models(options.models)
        comparison.measure(executor=executor)
        errors = _errors(comparison) if check else []
    message = _message(comparison, errors, allow_gaps)
    if message:
        raise AssertionError(message)
    return comparison


def _errors(comparison: Comparison) -> list[Finding]:
    """Why the captures cannot be compared."""
    from .checks.two_sides import check_pair

    return [finding for finding in check_pair(comparison) if finding.severity == "error"]


def _path(given: PathLike | None) -> str | None:
    return None if given is None else os.fspath(given)


def _message(comparison: Comparison, errors: list[Finding], allow_gaps: bool) -> str:
    """Why the test fails; empty when it does not."""
    gaps = [row for row in comparison.rows if row.kind != "pair"]
    failed = comparison.exit_status() != 0
    if not (failed or errors or (gaps and not allow_gaps)):
        return ""
    from ..capture.plurals import HAS, counted
    from .reports.escaping import clean
    from .reports.forms.text_form import summary_line

    lines = [f"captures differ: {summary_line(comparison)}"]
    lines += [f"  {clean(finding.line)}" for finding in errors]
    lines += _divergence(comparison)
    lines += [f"  {clean(reason)}" for reason in comparison.outcome().reasons]
    if gaps and not allow_gaps:
        names = [record.name for row in gaps if (record := row.reference or row.candidate)]
        more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
        lines.append(f"  {counted(len(gaps), 'record', HAS)} no partner: "
                     f"{clean(', '.join(names[:_MOST]))}{more}")  # fmt: skip
    lines += [f"  reference {clean(comparison.reference.path)}",
              f"  candidate {clean(comparison.candidate.path)}"]  # fmt: skip
    return "\n".join(lines)


def _divergence(comparison: Comparison) -> list[str]:
    """The first divergence with its reason, and the rows after it."""
    from .reports.escaping import clean
    from .reports.findings import first_facts, first_verdict, word_of
    from .reports.words import number

    lines: list[str] = []
    first = comparison.first_divergence()
    if first is not None:
        lines.append(
            f"  first divergence: {clean(first.module)}, row {first.index}: {first_verdict(first)}"
        )
        lines.append(f"    {clean(first.reason)}")
        lines.append(f"    reference {clean(first.reference)}")
        lines.append(f"    candidate {clean(first.candidate)}")
        lines += [f"    {fact.label}: {clean(fact.text)}" for fact in first_facts(first)]
    bad = [
        row
        for row, verdict in zip(comparison.rows, comparison.verdicts, strict=True)
        if verdict.fails or verdict.level == "unreadable"
    ]
    for row in bad[:_MOST]:
        verdict, result = comparison.verdicts[row.index], comparison.measurements[row.index]
        error = getattr(result, "relative_l2", None)
        lines.append(
            f"  {row.index:5d} {word_of(verdict.level):10} {number(error):>10}  {clean(row.label)}"
        )
    if len(bad) > _MOST:
        lines.append(f"        and {len(bad) - _MOST} more rows")
    return lines
