"""The directory that `layertui verify` writes: made, replaced, and filled."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...capture.models.run_directory import MAX_LOGS
from ..errors import UserError

if TYPE_CHECKING:
    from ...compare.comparison import Comparison
    from ...compare.rerun.verification import Verification


@dataclass(frozen=True, slots=True)
class VerifyExport:
    """Where a verification of `model` goes; the candidate's files are called by `side`."""

    path: Path
    model: str
    side: str

    def write(self, scenario: str, comparison: Comparison, found: Verification) -> None:
        from ...compare.rerun.scenario_report import scenario_report
        from ...compare.rerun.verification import WITH

        report = scenario_report(comparison, found, injected=scenario == WITH)
        self.write_scenario(scenario, comparison, found, report)

    def write_scenario(
        self, scenario: str, comparison: Comparison, found: Verification, report: str
    ) -> None:  # fmt: skip
        from ...capture.extras import has_extra
        from ...compare.reports.plot import draw_plot
        from ...compare.rerun.scenario_report import module_names, report_name
        from ..output import write_output

        folder = self.path / scenario
        folder.mkdir(parents=True, exist_ok=True)
        name = report_name(self.model, found.encoding)
        write_output(str(folder / name), report, overwrite=True)
        if has_extra("plot"):
            write_output(str(folder / "mse_plot.png"), draw_plot(comparison), overwrite=True)
        sides = ((comparison.reference, "torch"), (comparison.candidate, self.side))
        for capture, side in sides:
            target = folder / f"module_names_{side}.txt"
            write_output(str(target), module_names(capture), overwrite=True)

    def finish(self, found: Verification) -> None:
        from ...compare.rerun.scenario_report import scenario_lines
        from ...compare.rerun.verification import FILE, verification_json
        from ..output import write_output

        write_output(str(self.path / FILE), verification_json(found), overwrite=True)
        for line in scenario_lines(found):
            click.echo(line)
        click.echo(f"\nopen it with:  {shlex.join(['layertui', str(self.path)])}")


def prepare_export(export: str, command: str, overwrite: bool) -> None:
    """Make room for an export, and mark it as one that `command` has not finished yet. Only what a
    verification wrote is removed. Raises `UserError`.
    """
    from ...compare.rerun.verification import FILE, is_export, unfinished_json
    from ..output import write_output

    if os.path.lexists(export) and not os.path.isdir(export):
        raise UserError(f"{export}: a file, not a directory")
    try:
        if os.path.isdir(export) and os.listdir(export):
            if not overwrite:
                raise UserError(f"{export}: not empty (--overwrite replaces an export)")
            if not is_export(export):
                raise UserError(f"{export}: not an export of layertui verify; it is not replaced")
            _clear(Path(export))
        Path(export).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{export}: cannot be written: {error.strerror or error}") from error
    write_output(os.path.join(export, FILE), unfinished_json(command), overwrite=True)


def _clear(export: Path) -> None:
    """Remove what a verification wrote. The mark of an export goes last: when this is interrupted
    it can be done once more.
    """
    from ...compare.rerun.verification import FILE, WITH, WITHOUT

    for name in (WITH, WITHOUT):
        folder = export / name
        if folder.is_symlink():
            folder.unlink()
        elif folder.is_dir():
            shutil.rmtree(folder)
    for name in (*MAX_LOGS, FILE):
        (export / name).unlink(missing_ok=True)


def keep_log(export: Path, capture: Path, problem: str) -> str:
    """Copy the log that `problem` names out of a capture that goes away; `problem` with its new
    place.
    """
    log, kept = capture.resolve() / MAX_LOGS[0], export / MAX_LOGS[0]
    if str(log) not in problem or not log.is_file():
        return problem
    try:
        shutil.copyfile(log, kept)
    except OSError:
        return problem
    return problem.replace(str(log), str(kept))


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
