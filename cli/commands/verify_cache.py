"""What `layertui verify` takes from earlier runs, and says that it does."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...compare.rerun.kept import KeptRuns

if TYPE_CHECKING:
    from ...capture.models.run_plan import Plan
    from ...capture.runners.spec import RunnerSpec
    from ...compare.rerun.answers import KeptAnswers

_NOTE = (
    "note       reused is what was made of the same model, input, options and packages; "
    "--no-cache runs everything again"
)


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run as it was asked for: its token ids may not be known yet."""

    key: str
    plan: Plan
    framework: str


@dataclass(slots=True)
class RunCache:
    """Captures, and layers run again, of earlier verifications. Unless `use`, there are none; what
    is run is kept nevertheless.
    """

    use: bool
    _kept: KeptRuns = field(default_factory=KeptRuns)
    _noted: bool = False

    def run(self, plan: Plan, framework: str) -> KeptRun | None:
        """What a capture by `plan` is kept under; None where it cannot be kept."""
        from ...capture.models.made_of import run_identity

        key = run_identity(plan, framework)
        return None if key is None else KeptRun(key, plan, framework)

    def has(self, run: KeptRun | None) -> bool:
        return self.use and run is not None and self._kept.has(run.key)

    def take(self, run: KeptRun | None, target: Path, what: str) -> bool:
        """Put the capture that is kept to `target`, and say so; False without one."""
        made = self._kept.take(run.key, target) if self.use and run is not None else None
        if made is not None:
            self._say(f"{what}, made {made}")
        return made is not None

    def keep(self, run: KeptRun | None, capture: Path) -> None:
        """Keep a capture that was made now, unless what it was made of has changed meanwhile."""
        if run is not None and self.run(run.plan, run.framework) == run:
            self._kept.keep(run.key, capture)

    def answers(self, spec: RunnerSpec, folder: Path) -> KeptAnswers | None:
        """What the runner answered before, in `folder`; None for a runner whose files are not all
        known: another engine's command may load anything.
        """
        from ...capture.runners.spec import identity
        from ...compare.rerun.answers import KeptAnswers

        key = identity(spec) if spec.kind != "external" else None
        return None if key is None else KeptAnswers(self._kept, key, folder, use=self.use)

    def keep_answers(self, answers: KeptAnswers | None, spec: RunnerSpec) -> None:
        """Say how many answers were taken, and keep the new ones."""
        from ...capture.runners.spec import identity

        if answers is None:
            return
        if answers.reused:
            total = answers.reused + answers.new
            self._say(f"{answers.reused} of {total} layers with injected inputs, made "
                      f"{answers.made}")  # fmt: skip
        if answers.new and identity(spec) == answers.key:
            answers.keep()

    def _say(self, what: str) -> None:
        click.echo(f"reused     {what}")
        if not self._noted:
            click.echo(_NOTE)
        self._noted = True
