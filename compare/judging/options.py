"""How to judge, as it is asked for: the options of the command line, of the screen and of tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..rules.rules import Rules
    from ..weights.models import ModelPaths
    from .policies.base import Policy


@dataclass(frozen=True, slots=True)
class JudgingOptions:
    """What was asked for; None, and what is empty, where nothing was.

    `thresholds` are limits by metric for the policy `fixed`, `thresholds_file` limits by layer;
    `rules` and `raw` are as `--rules` and `--raw` have them.
    """

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
    allow_reshape: bool = False
    baselines: tuple[str, ...] = ()
    exact: str | None = None
    reference_model: str | None = None
    candidate_model: str | None = None

    @property
    def models(self) -> ModelPaths:
        """The checkpoints that were given."""
        from ..weights.models import ModelPaths

        return ModelPaths(self.reference_model, self.candidate_model)

    @property
    def wants_ulp(self) -> bool:
        """Whether the metric is asked for that costs another pass."""
        return self.metric == "ulp" or any(name == "ulp" for name, _ in self.thresholds)

    @property
    def asks_for_a_policy(self) -> bool:
        """Whether anything but the default policy is asked for."""
        given = self.policy is not None or self.thresholds or self._further
        return bool(given) or self.rtol is not None or self.atol is not None

    @property
    def _further(self) -> bool:
        return bool(self.baselines) or self.exact is not None

    def validate(self) -> None:
        """Raise `PolicyError` where options contradict each other; what a policy makes of its own
        limits is checked where it is made.
        """
        from .policies.base import PolicyError

        if (self.rtol is None) != (self.atol is None):
            raise PolicyError("--rtol and --atol must be given together")
        if self._further:
            other = self.policy not in (None, "noise", "default")
            if other or self.thresholds or self.rtol is not None:
                raise PolicyError(
                    "--baseline and --exact belong to --policy noise, without limits of its own"
                )
        elif self.thresholds and self.policy not in (None, "fixed"):
            raise PolicyError("limits by metric (--threshold) belong to --policy fixed")

    def make_policy(self) -> Policy:
        """The policy that is asked for. Raises `PolicyError`."""
        from .policy import NoisePolicy, policy_named

        self.validate()
        if self._further:
            return NoisePolicy(baselines=self.baselines, exact=self.exact)
        return policy_named(self.policy or "default", dict(self.thresholds), self.rtol, self.atol)

    def make_rules(self, loaded: Rules | None = None) -> Rules | None:
        """The rules file, or rules that are `loaded` already, and, behind their limits, the
        thresholds file. Raises `RulesError`.
        """
        from ..rules.rules import Rules

        rules = loaded
        if self.rules is not None:
            from ..rules.rules_file import load_rules

            rules = load_rules(self.rules)
        if self.allow_reshape:
            rules = replace(rules or Rules(), allow_reshape=True)
        if self.thresholds_file is None:
            return rules
        from ..rules.learned_limits import load_thresholds

        limits = load_thresholds(self.thresholds_file)
        rules = rules or Rules()
        return replace(rules, thresholds=(limits, *rules.thresholds))

    def to_arguments(self) -> list[str]:
        """The options again, as words of a command line; none for what is the default anyway."""
        words: list[str] = []
        if self.metric != "mse":
            words += ["--metric", self.metric]
        for name, value in (
            ("--policy", self.policy), ("--rules", self.rules), ("--raw", self.raw),
            ("--thresholds", self.thresholds_file), ("--rtol", self.rtol), ("--atol", self.atol),
            ("--reference-model", self.reference_model),
            ("--candidate-model", self.candidate_model),
        ):  # fmt: skip
            if value is not None:
                words += [name, str(value)]
        for path in self.baselines:
            words += ["--baseline", path]
        if self.exact is not None:
            words += ["--exact", self.exact]
        for metric, limit in self.thresholds:
            words += ["--threshold", f"{metric}={limit}"]
        if self.min_coverage != 0.5:
            words += ["--min-coverage", str(self.min_coverage)]
        if self.allow_early_end:
            words.append("--allow-early-end")
        if self.allow_reshape:
            words.append("--allow-reshape")
        return words
