"""`layertui verify`: a model in both frameworks, as captured and with injected inputs."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..capture.cases import Rows
from .capture_options import make_plan, verify_options
from .capture_progress import CaptureProgress
from .errors import UserError
from .options import candidate_model_option

if TYPE_CHECKING:
    from ..capture.models.run_plan import Plan
    from ..capture.runners.spec import RunnerSpec
    from ..capture.weights import Weights
    from ..compare.aligned import SideName
    from ..compare.comparison import Comparison
    from ..compare.rerun.session import RerunSession
    from ..compare.rerun.verification import Verification


@click.command()
@click.argument("model_dir")
@click.option(
    "--candidate",
    default="max",
    metavar="max|torch|CMD",
    show_default=True,
    help="Who is verified; a command is a runner, see --runner of rerun.",
)
@candidate_model_option("What the candidate runs.  [default: MODEL_DIR]")
@click.option(
    "--reference-capture",
    metavar="DIR",
    type=click.Path(exists=True),
    default=None,
    help="Use this capture instead of running the reference.",
)
@click.option(
    "--candidate-capture",
    metavar="DIR",
    type=click.Path(exists=True),
    default=None,
    help="Use this capture instead of running the candidate.",
)
@click.option("--prompt", default=None, help="Text to run.")
@verify_options
@click.option(
    "--offline",
    is_flag=True,
    help="Run nothing with injection: say by the layers' laws which of them are wrong. This is "
    "done anyhow where the candidate's layers cannot be run.",
)
@click.option("--save-layers", is_flag=True, help="Keep the tensors of both scenarios.")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="EXPORT",
    type=click.Path(file_okay=False),
    help="Where both scenarios go.",
)
@click.option("--overwrite", is_flag=True, help="Replace an export that is there.")
@click.pass_context
def verify(
    ctx: click.Context, model_dir: str, candidate: str, candidate_model: str | None,
    reference_capture: str | None, candidate_capture: str | None, prompt: str | None,
    ids: Rows | None, offline: bool, save_layers: bool, output: str, overwrite: bool,
    **options: Any,
) -> int:  # fmt: skip
    """Compare MODEL_DIR in PyTorch with a candidate, as captured and layer by layer.

    Written to EXPORT are two scenarios: without_injection, the candidate as it runs, and
    with_injection, every layer of it fed the reference's inputs. The same error in both is the
    layer's own; an error that is much lower with injection was only passed on. Where the
    candidate's layers cannot be run, its captured outputs are held against what the reference's
    layers give for its captured inputs, and both reports say so.

    Exit status as of compare, over both scenarios.
    """
    from ..capture.runners.guard import Guard
    from ..compare.reports.plot import PlotError, require_matplotlib

    try:
        require_matplotlib()
    except PlotError as error:
        raise UserError(str(error)) from error
    plan = make_plan(
        model_dir, prompt=(prompt,) if prompt is not None else (), prompt_file=None, ids=ids,
        batches=(), lengths=(), outputs_only=False, **options,
    )  # fmt: skip
    plan = _on_known_ids(plan, prompt, ids, reference_capture, candidate_capture)
    if candidate not in ("max", "torch") and candidate_capture is None:
        raise UserError(f"--candidate {candidate}: its own run is needed: --candidate-capture DIR")
    _prepare(output, overwrite)
    guard = Guard()
    try:
        work = Path(output) / "without_injection" if save_layers else guard.directory
        job = _Job(plan, candidate, candidate_model, Path(output), work, guard.directory,
                   shlex.join(["layertui", *(ctx.obj or [])]), save_layers, offline)  # fmt: skip
        return job.run(reference_capture, candidate_capture)
    finally:
        guard.close()


@dataclass(slots=True)
class _Job:
    """One verification. Tensors that are not kept lie in `private`."""

    plan: Plan
    candidate: str
    candidate_model: str | None
    export: Path
    work: Path
    private: Path
    command: str
    save: bool
    offline: bool = False

    @property
    def side(self) -> str:
        """What the candidate's files are called by."""
        return {"max": "max", "torch": "torch_candidate"}.get(self.candidate, "cpp")

    @property
    def candidate_plan(self) -> Plan:
        return replace(self.plan, model=self.candidate_model or self.plan.model)

    def run(self, reference_capture: str | None, candidate_capture: str | None) -> int:
        from ..compare.comparison import open_comparison
        from ..compare.rerun.session import RerunSession
        from ..compare.weights.models import ModelPaths
        from .session import measure_all

        reference = self._captured(reference_capture, "torch", self.plan)
        candidate = self._captured(candidate_capture, self.side, self.candidate_plan)
        models = ModelPaths(self.plan.model, self.candidate_plan.model)
        comparison = open_comparison(str(reference), str(candidate), models=models)
        measure_all(comparison)
        if self.offline:
            return self._by_laws(comparison, reference, candidate, "--offline was given")
        with RerunSession(
            comparison, self._spec(comparison), keep_inputs=True, use_cache=False
        ) as session:
            try:
                return self._both(session, reference, candidate)
            except UserError as error:
                if session.hello is not None:  # it runs: something else is wrong
                    raise
                reason = f"the candidate's layers cannot be run: {error}"
        return self._by_laws(comparison, reference, candidate, reason)

    def _both(self, session: RerunSession, reference: Path, candidate: Path) -> int:
        from ..compare.comparison import open_comparison
        from ..compare.rerun.layers import rows_of
        from .rerun import run_layers
        from .session import measure_all

        run_layers(session, rows_of(session.layers.all))
        place = self.export / "with_injection" if self.save else self.private / "with_injection"
        injected = place / f"{self.side}_layers"
        self._write_injected(session, injected)
        if self.save:
            _copy(reference, place / "torch_layers")
        alone = open_comparison(str(reference), str(injected))
        measure_all(alone, use_cache=False)
        found = self._verification(session, reference, candidate, injected)
        self._write("without_injection", session.comparison, found)
        self._write("with_injection", alone, found)
        self._finish(found)
        statuses = session.comparison.exit_status(), alone.exit_status(), _status(session)
        return max(statuses)

    def _by_laws(
        self, comparison: Comparison, reference: Path, candidate: Path, reason: str
    ) -> int:  # fmt: skip
        """The scenario with injection without running anything."""
        from ..compare.rerun.offline import by_laws, errors_by_law, offline_report, offline_rows

        errors = errors_by_law(comparison, *self._weights(comparison))
        rows, blamed = offline_rows(comparison, errors)
        found = replace(
            self._about(comparison, reference, candidate), blamed=blamed, rows=tuple(rows),
            offline=reason,
        )  # fmt: skip
        self._write("without_injection", comparison, found)
        report = offline_report(comparison, errors, found)
        self._write_scenario("with_injection", by_laws(comparison, errors), found, report)
        self._finish(found)
        told = any(error.state != "unknown" for error in errors.values())
        return max(comparison.exit_status(), 1 if blamed or not told else 0)

    def _weights(self, comparison: Comparison) -> tuple[Weights | None, Weights | None]:
        """The checkpoints of both sides; what has none is said in the notes."""
        from ..capture.errors import CaptureError
        from ..capture.weights import open_weights
        from ..compare.aligned import Note

        opened: list[Weights | None] = []
        sides: tuple[tuple[Plan, SideName], ...] = (
            (self.plan, "reference"), (self.candidate_plan, "candidate"),
        )  # fmt: skip
        for plan, side in sides:
            try:
                opened.append(open_weights(plan.model))
            except CaptureError as error:
                opened.append(None)
                note = Note(side, f"laws without a checkpoint: {error}")
                comparison.remarks = (*comparison.remarks, note)
        return opened[0], opened[1]

    # --- captures

    def _captured(self, given: str | None, side: str, plan: Plan) -> Path:
        """The capture of one side: as given, or made now."""
        target = self.work / f"{side}_layers"
        if given is not None:
            if not self.save:
                return Path(given)
            _copy(Path(given), target)
            return target
        from ..capture.engines.max_capture import capture_max
        from ..capture.engines.torch_capture import capture_torch

        target.parent.mkdir(parents=True, exist_ok=True)
        run = capture_max if side == "max" else capture_torch
        with CaptureProgress() as watcher:
            failed = run(plan, str(target), watcher)
        if failed:
            raise UserError(failed[0])
        return target

    def _spec(self, comparison: Comparison) -> RunnerSpec:
        """The runner of the candidate, with the settings of the run."""
        from ..capture.runners.spec import RunnerSpec
        from ..compare.rerun.remembered import proposed

        plan = self.candidate_plan
        if self.side == "cpp":
            return RunnerSpec("external", model=plan.model, command=self.candidate)
        told = proposed(comparison.candidate)
        return replace(
            told, kind="max" if self.side == "max" else "torch", model=plan.model, factory=None,
            dtype=plan.dtype or told.dtype, device=plan.device, layers=plan.layers,
            seed=plan.seed, module_api=plan.module_api, allow_unsupported=plan.allow_unsupported,
        )  # fmt: skip

    def _write_injected(self, session: RerunSession, folder: Path) -> None:
        from ..capture.runners.injected import RerunCall, write_injected

        rows, calls = session.comparison.rows, []
        for layer in session.layers.all:
            results = [session.results.get(index) for index in layer.outputs]
            kept: dict[str, Any] = {}
            first = next((found for found in results if found and found.output), None)
            for index, found in zip(layer.outputs, results, strict=True):
                record = rows[index].candidate
                if found is not None and found.output is not None and record is not None:
                    kept[record.slot] = found.output
            if first is not None:
                record = rows[first.row].candidate
                kind = record.module_class if record is not None else None
                outputs = tuple(kept.items())
                calls.append(RerunCall(layer.module, kind, layer.call, layer.step, first.given,
                                       outputs))  # fmt: skip
        capture, hello = session.comparison.candidate, session.hello
        said: dict[str, Any] = {
            "framework": capture.framework or "another engine", "model": self.plan.model,
            "framework_version": hello.framework_version if hello is not None else "",
            "notes": ["every layer was fed the reference's inputs"],
        }  # fmt: skip
        write_injected(folder, calls, said)

    # --- what is written

    def _verification(
        self, session: RerunSession, reference: Path, candidate: Path, injected: Path
    ) -> Verification:
        from ..compare.rerun.verification import scenario_rows

        rows = session.comparison.rows
        blamed = tuple(dict.fromkeys(rows[index].canonical for index in session.blamed()))
        return replace(
            self._about(session.comparison, reference, candidate), injected=self._saved(injected),
            blamed=blamed, rows=tuple(scenario_rows(session)),
        )  # fmt: skip

    def _about(self, comparison: Comparison, reference: Path, candidate: Path) -> Verification:
        """A verification without results."""
        from ..compare.rerun.verification import Verification

        encoding = self.plan.dtype or comparison.candidate.main_dtype() or "unknown"
        return Verification(
            str(self.export), self.plan.model, encoding, self.command, self._saved(reference),
            self._saved(candidate), None, (), (),
        )  # fmt: skip

    def _saved(self, place: Path) -> str | None:
        """Where a capture lies in the export; None where tensors are not kept."""
        return os.path.relpath(place, self.export) if self.save else None

    def _write(self, scenario: str, comparison: Comparison, found: Verification) -> None:
        from ..compare.rerun.verification import WITH, scenario_report

        report = scenario_report(comparison, found, injected=scenario == WITH)
        self._write_scenario(scenario, comparison, found, report)

    def _write_scenario(
        self, scenario: str, comparison: Comparison, found: Verification, report: str
    ) -> None:  # fmt: skip
        from ..compare.reports.plot import draw_plot
        from ..compare.rerun.verification import module_names, report_name
        from .output import write_output

        folder = self.export / scenario
        folder.mkdir(parents=True, exist_ok=True)
        name = report_name(self.plan.model, found.encoding)
        write_output(str(folder / name), report, overwrite=True)
        write_output(str(folder / "mse_plot.png"), draw_plot(comparison), overwrite=True)
        sides = ((comparison.reference, "torch"), (comparison.candidate, self.side))
        for capture, side in sides:
            target = folder / f"module_names_{side}.txt"
            write_output(str(target), module_names(capture), overwrite=True)

    def _finish(self, found: Verification) -> None:
        from ..compare.rerun.verification import FILE, scenario_lines, verification_json
        from .output import write_output

        write_output(str(self.export / FILE), verification_json(found), overwrite=True)
        for line in scenario_lines(found):
            click.echo(line)
        click.echo(f"\nopen it with:  {shlex.join(['layertui', str(self.export)])}")


def _status(session: RerunSession) -> int:
    from ..compare.rerun.report import exit_status

    return exit_status(session, asked=False)


def _on_known_ids(
    plan: Plan, prompt: str | None, ids: Rows | None, reference: str | None, candidate: str | None
) -> Plan:
    """The ids of a capture that is given, where nothing else says what is run; the same ids for
    both sides otherwise.
    """
    from ..capture.models.same_input import fix_input

    if reference is not None and candidate is not None:
        return plan
    given = reference or candidate
    if given is not None and prompt is None and ids is None:
        from ..capture.open import open_capture

        known = open_capture(given, headers=False).input_ids
        if not known:
            raise UserError(f"{given}: does not tell its token ids; give --input-ids")
        rows = tuple(tuple(int(number) for number in row) for row in known)
        (case,) = plan.cases
        plan = replace(plan, cases=(replace(case, ids=rows, prompt=None),))
    return fix_input(plan)


def _prepare(export: str, overwrite: bool) -> None:
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


def _copy(source: Path, target: Path) -> None:
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
