"""What the commands share: from options to a measured comparison, with progress on the terminal."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .errors import UserError
from .output import stderr_is_terminal

if TYPE_CHECKING:
    from ..compare.comparison import Comparison
    from ..compare.judging.policy import Policy
    from ..compare.rules.rules import Rules
    from ..compare.weights.models import ModelPaths


@dataclass(frozen=True, slots=True)
class Judging:
    """The options of `options.judging_options`, as they were given."""

    metric: str = "mse"
    policy: str | None = None
    thresholds: tuple[tuple[str, float], ...] = ()
    thresholds_file: str | None = None
    rtol: float | None = None
    atol: float | None = None
    rules: str | None = None
    raw: str | None = None
    min_coverage: float = 0.5
    allow_early_end: bool = False
    baselines: tuple[str, ...] = ()
    exact: str | None = None
    reference_model: str | None = None
    candidate_model: str | None = None

    @property
    def models(self) -> ModelPaths:
        """The checkpoints that were given."""
        from ..compare.weights.models import ModelPaths

        return ModelPaths(self.reference_model, self.candidate_model)

    @property
    def plain(self) -> bool:
        """True when nothing was said about judging: the usual policy, not even imported yet."""
        further = self.baselines or self.exact is not None
        given = self.policy is not None or self.thresholds or further
        return not given and self.rtol is self.atol is None

    def make_policy(self) -> Policy:
        """The policy that the options describe. Raises `UserError` where they contradict."""
        from ..compare.judging.policy import PolicyError, policy_named

        if (self.rtol is None) != (self.atol is None):
            raise UserError("--rtol and --atol: give both or neither")
        if self.baselines or self.exact is not None:
            return self._with_baselines()
        name = self.policy or ("fixed" if self.thresholds else "default")
        if self.thresholds and name != "fixed":
            raise UserError("--threshold belongs to --policy fixed")
        try:
            return policy_named(name, dict(self.thresholds), self.rtol, self.atol)
        except PolicyError as error:
            raise UserError(str(error)) from error

    def _with_baselines(self) -> Policy:
        from ..compare.judging.policy import NoisePolicy

        if (
            self.policy not in (None, "noise", "default")
            or self.thresholds
            or self.rtol is not None
        ):
            raise UserError("--baseline and --exact belong to --policy noise, without thresholds")
        return NoisePolicy(baselines=self.baselines, exact=self.exact)

    def make_rules(self) -> Rules | None:
        """The rules file and, behind its limits, the thresholds file. Raises `RulesError`."""
        from ..compare.rules.rules import Rules, load_rules

        rules = None if self.rules is None else load_rules(self.rules)
        if self.thresholds_file is None:
            return rules
        from ..compare.rules.learned_limits import load_thresholds

        limits = load_thresholds(self.thresholds_file)
        rules = rules or Rules()
        return replace(rules, thresholds=(limits, *rules.thresholds))


def forwarded(judging: Judging) -> list[str]:
    """The options again, as words of a command line; none for what is the default anyway."""
    words: list[str] = []
    for name, value in (
        ("--policy", judging.policy), ("--rules", judging.rules), ("--raw", judging.raw),
        ("--thresholds", judging.thresholds_file), ("--rtol", judging.rtol),
        ("--atol", judging.atol), ("--reference-model", judging.reference_model),
        ("--candidate-model", judging.candidate_model),
    ):  # fmt: skip
        if value is not None:
            words += [name, str(value)]
    for metric, limit in judging.thresholds:
        words += ["--threshold", f"{metric}={limit}"]
    if judging.metric == "ulp":  # only this one is measured on demand
        words += ["--metric", judging.metric]
    return words


def open_pair(reference: str, candidate: str, judging: Judging) -> Comparison:
    """Open and align both captures, and remember the checkpoints that were given for them.

    Raises `CaptureError`, also for a checkpoint that cannot be opened, `RulesError`, `UserError`.
    """
    from ..compare.comparison import open_comparison
    from ..compare.weights.models import ModelPaths, remember_models

    wants_ulp = judging.metric == "ulp" or any(name == "ulp" for name, _ in judging.thresholds)
    comparison = open_comparison(
        reference, candidate, rules=judging.make_rules(), policy=judging.make_policy(),
        raw=judging.raw, rtol=judging.rtol, atol=judging.atol, ulp=wants_ulp,
        models=judging.models,
        allow_early_end=judging.allow_early_end,
    )  # fmt: skip
    if judging.models.over(comparison.rules.models) != ModelPaths():
        comparison.use_models(judging.models)
        remember_models(reference, candidate, judging.models)
    return comparison


def measure_all(
    comparison: Comparison, threads: int | None = None, use_cache: bool = True,
    processes: int | None = None,
) -> None:  # fmt: skip
    """Measure every pair, with progress on stderr when it is a terminal; in `processes` if given.

    The work runs in a thread of its own, so that Ctrl-C is heard at once: it raises
    `KeyboardInterrupt` here after the work was told to stop.
    """
    from ..compare.running.processes import process_pool

    stop = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with process_pool(processes) if processes else nullcontext() as pool:
                comparison.measure(
                    executor=pool, cancelled=stop.is_set, use_cache=use_cache,
                    threads=processes or threads,
                )  # fmt: skip
        except BaseException as error:
            failed.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        _watch(comparison, worker)
    except KeyboardInterrupt:
        stop.set()
        worker.join(2.0)
        raise
    if failed:
        raise failed[0]


def note_checks(comparison: Comparison) -> None:
    """Look whether the captures are fit to be compared, and put what is found into their notes."""
    from ..compare.checks.two_sides import check_pair, note_findings

    note_findings(comparison, check_pair(comparison))


def _watch(comparison: Comparison, worker: threading.Thread) -> None:
    show = stderr_is_terminal()
    started = time.monotonic()
    while worker.is_alive():
        worker.join(0.2)
        if show and time.monotonic() - started > 0.5:
            done, total = comparison.measured, comparison.to_measure
            print(f"\rmeasured {done} of {total} pairs\x1b[K", end="", file=sys.stderr, flush=True)
    if show:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
