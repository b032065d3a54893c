"""The directory that `layertui verify` writes: made, replaced, and filled."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .errors import UserError

if TYPE_CHECKING:
    from ..compare.comparison import Comparison
    from ..compare.rerun.verification import Verification


@dataclass(frozen=True, slots=True)
class VerifyExport:
    """Where a verification of `model` goes; the candidate's files are called by `side`."""

    path: Path
    model: str
    side: str

    def write(self, scenario: str, comparison: Comparison, found: Verification) -> None:
        from ..compare.rerun.scenario_report import scenario_report
        from ..compare.rerun.verification import WITH

        report = scenario_report(comparison, found, injected=scenario == WITH)
        self.write_scenario(scenario, comparison, found, report)

    def write_scenario(
        self, scenario: str, comparison: Comparison, found: Verification, report: str
    ) -> None:  # fmt: skip
        from ..compare.reports.plot import draw_plot
        from ..compare.rerun.scenario_report import module_names, report_name
        from .output import write_output

        folder = self.path / scenario
        folder.mkdir(parents=True, exist_ok=True)
        name = report_name(self.model, found.encoding)
        write_output(str(folder / name), report, overwrite=True)
        write_output(str(folder / "mse_plot.png"), draw_plot(comparison), overwrite=True)
        sides = ((comparison.reference, "torch"), (comparison.candidate, self.side))
        for capture, side in sides:
            target = folder / f"module_names_{side}.txt"
            write_output(str(target), module_names(capture), overwrite=True)

    def finish(self, found: Verification) -> None:
        from ..compare.rerun.scenario_report import scenario_lines
        from ..compare.rerun.verification import FILE, verification_json
        from .output import write_output

        write_output(str(self.path / FILE), verification_json(found), overwrite=True)
        for line in scenario_lines(found):
            click.echo(line)
        click.echo(f"\nopen it with:  {shlex.join(['layertui', str(self.path)])}")


def prepare_export(export: str, overwrite: bool) -> None:
    """Make room for an export. Only what a verification wrote is removed."""
    from ..compare.rerun.verification import FILE, WITH, WITHOUT, is_export

    if os.path.lexists(export) and not os.path.isdir(export):
        raise UserError(f"{export}: a file, not a directory")
    if os.path.isdir(export) and os.listdir(export):
        if not overwrite:
            raise UserError(f"{export}: not empty (--overwrite replaces an export)")
        if not is_export(export):
            raise UserError(f"{export}: not an export of layertui verify; it is not replaced")
        for name in (WITH, WITHOUT):
            shutil.rmtree(Path(export, name), ignore_errors=True)
        Path(export, FILE).unlink()
    Path(export).mkdir(parents=True, exist_ok=True)


def copy_capture(source: Path, target: Path) -> None:
    """The files of a capture once more, by hard links where the file system has them."""

    def link(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:
            shutil.copyfile(one, other)

    try:
        shutil.copytree(source, target, copy_function=link)
    except (OSError, shutil.Error) as error:
        raise UserError(f"{target}: cannot be written: {error}") from error
