"""Policy and thresholds as one line that a person can read and edit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ...compare.measuring.metrics import METRICS
from ...compare.vocabulary import POLICIES
from ..commands import CommandError

if TYPE_CHECKING:
    from ...compare.judging.options import JudgingOptions
    from ...compare.judging.policy import Policy


DEFAULT = POLICIES[0]  # the policy where no other is asked for


@dataclass(frozen=True)
class Limits:
    """What verdicts are made with; None where the policy has its own values."""

    policy: str = DEFAULT
    thresholds: dict[str, float] = field(default_factory=dict)
    rtol: float | None = None
    atol: float | None = None
    given: Policy | None = field(default=None, compare=False)  # of the command line, whole

    @property
    def text(self) -> str:
        """`policy=fixed mse=0.0001 rtol=1e-05`: what `parse_limits` reads."""
        parts = [f"policy={self.policy}"]
        parts += [f"{name}={value:g}" for name, value in self.thresholds.items()]
        for name, value in (("rtol", self.rtol), ("atol", self.atol)):
            if value is not None:
                parts.append(f"{name}={value:g}")
        return " ".join(parts)

    @property
    def is_default(self) -> bool:
        """True for the policy that is used without asking for one."""
        return self.policy == DEFAULT or (self.policy == "dtype" and self.rtol is not None)

    @property
    def options(self) -> list[str]:
        """The same as options of the command line; nothing for what is the default anyway."""
        return self.judging.to_arguments()

    @property
    def judging(self) -> JudgingOptions:
        """The same as options of a command."""
        from ...compare.judging.options import JudgingOptions

        policy = self._of_the_command_line()
        baselines, exact = ((), None) if policy is None else policy.further_captures
        return JudgingOptions(
            policy=None if self.is_default else self.policy, baselines=baselines, exact=exact,
            thresholds=tuple(self.thresholds.items()), rtol=self.rtol, atol=self.atol,
        )  # fmt: skip

    def make(self) -> Policy:
        """The policy. Raises `CommandError` when there is none of that name, or limits do not go
        with it.
        """
        from ...compare.judging.policies.base import PolicyError

        given = self._of_the_command_line()
        if given is not None:
            return given
        try:
            return self.judging.make_policy()
        except PolicyError as error:
            raise CommandError(str(error)) from error

    def _of_the_command_line(self) -> Policy | None:
        """The policy that came from there, with its baselines, where it is the one in use."""
        given = self.given
        return given if given is not None and given.name == self.policy == "noise" else None


def with_baseline(limits: Limits, path: str | None) -> Limits:
    """The policy `noise` with one more run of the reference as a baseline, or (None) without any;
    the exact capture of the command line stays.
    """
    from ...compare.judging.policy import NoisePolicy

    baselines, exact = further_captures(limits)
    baselines = () if path is None else (*baselines, path)
    return Limits(given=NoisePolicy(baselines=baselines, exact=exact))


def further_captures(limits: Limits) -> tuple[tuple[str, ...], str | None]:
    """The baselines and the exact capture that the policy `noise` has."""
    return ((), None) if limits.given is None else limits.given.further_captures


def limits_of(policy: Policy | None, rtol: float | None, atol: float | None) -> Limits:
    """The line that describes `policy`; None is the default one."""
    if policy is None:
        return Limits(DEFAULT if rtol is None else "dtype", rtol=rtol, atol=atol)
    return Limits(policy.name, dict(getattr(policy, "thresholds", ())), rtol, atol, policy)


def parse_limits(text: str) -> Limits:
    """Read `policy=fixed mse=1e-4 rtol=1e-5 atol=1e-8`; thresholds mean the policy fixed.

    Raises `CommandError` for anything else.
    """
    limits = Limits(policy="")
    for word in text.replace(",", " ").split():
        name, equals, value = word.partition("=")
        if not equals or not value:
            raise CommandError(f"{word!r} is not NAME=VALUE, as in mse=1e-4")
        limits = _with(limits, name, value)
    if not limits.policy:
        tolerance = limits.rtol is not None or limits.atol is not None
        default = "dtype" if tolerance else DEFAULT
        limits = replace(limits, policy="fixed" if limits.thresholds else default)
    return limits


def with_thresholds(limits: Limits, text: str) -> Limits:
    """`limits` with some values replaced; a threshold makes the policy fixed."""
    new = parse_limits(text)
    return Limits(
        limits.policy if new.policy == "noise" else new.policy,
        {**limits.thresholds, **new.thresholds},
        limits.rtol if new.rtol is None else new.rtol,
        limits.atol if new.atol is None else new.atol,
        limits.given,
    )


def _with(limits: Limits, name: str, value: str) -> Limits:
    if name == "policy":
        return replace(limits, policy="" if value == "default" else value)
    try:
        limit = float(value)
    except ValueError:
        raise CommandError(f"{value!r} is not a number") from None
    if math.isnan(limit) or (limit < 0 and name != "cosine"):
        raise CommandError(f"{name} must be a number that is not negative")
    if name == "rtol":
        return replace(limits, rtol=limit)
    if name == "atol":
        return replace(limits, atol=limit)
    if name in METRICS:
        return replace(limits, thresholds={**limits.thresholds, name: limit})
    raise CommandError(f"no metric {name!r}: {', '.join(METRICS)}, rtol, atol or policy")
