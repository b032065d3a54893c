"""By which metric, policy and limits rows are judged."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from ...capture.plurals import counted
from ...capture.storage import exists, is_url
from ...compare.measuring.metrics import METRICS
from ...compare.vocabulary import POLICIES
from ..commands import CommandError
from ..question import Question
from ..state import UNREMEMBERED, remember_metric
from .limits import Limits, further_captures, parse_limits, with_baseline, with_thresholds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..session import Host
    from .comparing import Comparing
    from .face import ListFace


class Judging:
    """Changes metric, policy and limits; verdicts follow at once where that takes no time."""

    def __init__(self, host: Host, face: ListFace, comparing: Comparing) -> None:
        self._host, self._face, self._comparing = host, face, comparing
        self._before = host.session.limits
        self.on_judged: Callable[[], None] = lambda: None  # judged anew, without any work

    def metric(self, text: str = "") -> None:
        """`:metric [NAME]`; without a name the next one."""
        session = self._host.session
        if not text:
            names = list(METRICS)
            text = names[(names.index(session.metric) + 1) % len(names)]
        if text not in METRICS:
            raise CommandError(f"no metric {text!r}: {', '.join(METRICS)}")
        session.metric = text
        if text not in UNREMEMBERED:
            remember_metric(text)
        self._face.verdicts_changed()
        self._host.say(f"metric {METRICS[text].heading}")
        if text == "ulp":  # takes another pass over the values, so only when asked for
            self._comparing.measure_with(session.limits, ulp=True)

    def ask(self) -> None:
        """Edit policy and limits as one line."""
        text = self._host.session.limits.text
        self._host.ask(Question("limits ", self._entered, text, sign="t"))

    def _entered(self, text: str) -> None:
        try:
            self._set(replace(parse_limits(text), given=self._host.session.limits.given))
        except CommandError as error:
            self._host.say(str(error), warn=True)

    def threshold(self, text: str) -> None:
        """`:threshold METRIC=VALUE ...`."""
        if text:
            self._set(with_thresholds(self._host.session.limits, text))
        else:
            self.ask()

    def policy(self, text: str) -> None:
        """`:policy noise|dtype|fixed`."""
        limits = self._host.session.limits
        if not text:
            raise CommandError(f"policy which? {', '.join(POLICIES)}; now {self._now()}")
        if text == "dtype":  # which has no thresholds of its own
            self._set(Limits("dtype", rtol=limits.rtol, atol=limits.atol, given=limits.given))
        elif text in ("noise", "default"):  # which has no limits at all
            self._set(Limits("noise", given=limits.given))
        else:
            self._set(replace(limits, policy=text))

    def baseline(self, text: str) -> None:
        """`:baseline [DIR|off]`: one more baseline, or none; without either say which there are."""
        limits = self._host.session.limits
        known = further_captures(limits)[0]
        if not text:
            self._host.say(_baselines_text(known))
        elif self._host.session.comparison is None:
            raise CommandError("rows are not aligned yet")
        elif text == "off":
            if not known:
                raise CommandError("there is no baseline")
            self._set(with_baseline(limits, None))
        else:
            path = text if is_url(text) else os.path.expanduser(text)
            if not is_url(path) and not exists(path):
                raise CommandError(f"{text}: no such file or directory")
            if path in known:
                raise CommandError(f"{text} is a baseline already")
            self._set(with_baseline(limits, path))

    def _now(self) -> str:
        session = self._host.session
        comparison = session.comparison
        return session.limits.policy if comparison is None else comparison.policy.describe()

    def _set(self, limits: Limits) -> None:
        """Judge by other limits at once; another tolerance also counts mismatches anew."""
        session = self._host.session
        policy, before = limits.make(), session.limits
        tolerance = (before.rtol, before.atol) != (limits.rtol, limits.atol)
        self._before, session.limits = before, limits
        slow = policy.name == "noise"  # which looks at all rows, and at further captures
        if session.comparison is not None and not slow:
            session.comparison.set_policy(policy)
            if self._comparing.working:
                self._face.judge_when_done()
            self._face.verdicts_changed()
            self.on_judged()
        self._comparing.measure_with(limits, again=tolerance)
        if slow and not tolerance:
            self._comparing.judge_again(policy)
        self._host.say(policy.describe())

    def take_back(self) -> None:
        """The comparison refused the last policy: say what it is still judged by."""
        session = self._host.session
        comparison = session.comparison
        if comparison is None:
            return
        wanted, judged_by = session.limits, comparison.policy
        asked = wanted.make().further_captures
        if judged_by.name != wanted.policy or judged_by.further_captures != asked:
            session.limits = self._before
            self._comparing.measure_with(session.limits)
            self._face.verdicts_changed()
            if not comparison.complete:  # it was stopped for the policy that is refused
                self._comparing.measure_again()


def _baselines_text(paths: Sequence[str]) -> str:
    if not paths:
        return "no baseline; :baseline DIR takes another run of the reference as one"
    return f"{counted(len(paths), 'baseline')}: {', '.join(paths)}"
