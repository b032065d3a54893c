"""One run of `layertui verify`: both captures, the layers run again, and what came of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...capture.engines.registry import ENGINES, Engine
from ..capture_progress import CaptureProgress
from ..errors import UserError
from .verify_cache import KeptRun, RunCache
from .verify_export import VerifyExport, copy_capture, keep_log

if TYPE_CHECKING:
    from ...capture.models.run_plan import Plan
    from ...capture.runners.spec import RunnerSpec
    from ...capture.weights import Weights
    from ...compare.aligned import SideName
    from ...compare.comparison import Comparison
    from ...compare.rerun.session import RerunSession
    from ...compare.rerun.verification import Verification

_TITLES = {"torch": "PyTorch", "max": "MAX", "onnx": "ONNX Runtime"}


@dataclass(slots=True)
class VerifyJob:
    """One verification. Tensors that are not kept lie in `private`."""

    plan: Plan
    candidate: str
    candidate_model: str | None
    export: Path
    work: Path
    private: Path
    command: str
    save: bool
    runs: RunCache
    reference_run: KeptRun | None
    offline: bool = False

    @property
    def side(self) -> str:
        """What the candidate's files are called by."""
        if self.candidate not in ENGINES:
            return "cpp"
        return "torch_candidate" if self.candidate == "torch" else self.candidate

    @property
    def _framework(self) -> str:
        return self.candidate if self.candidate in ENGINES else "torch"

    @property
    def _export(self) -> VerifyExport:
        return VerifyExport(self.export, self.plan.model, self.side)

    @property
    def candidate_plan(self) -> Plan:
        return replace(self.plan, model=self.candidate_model or self.plan.model)

    def run(self, reference_capture: str | None, candidate_capture: str | None) -> int:
        from ...compare.comparison import open_comparison
        from ...compare.rerun.layers import rows_of
        from ...compare.rerun.session import RerunSession
        from ...compare.weights.models import ModelPaths
        from ..session import measure_all
        from .rerun import run_layers

        reference = self._captured(reference_capture, "torch", self.plan, self.reference_run)
        if self.reference_run is not None:
            self.plan = _on_ids_of(reference, self.plan)
        plan, kept = self.candidate_plan, None
        if candidate_capture is None:
            kept = self.runs.run(plan, self._framework)
        candidate = self._captured(candidate_capture, self.side, plan, kept)
        models = ModelPaths(self.plan.model, self.candidate_plan.model)
        comparison = open_comparison(str(reference), str(candidate), models=models)
        measure_all(comparison)
        if self.offline:
            return self._by_laws(comparison, reference, candidate, "--offline was given")
        spec = self._spec(comparison)
        answers = self.runs.answers(spec, self.private / "answers")
        with RerunSession(
            comparison, spec, keep_inputs=True, use_cache=False, answers=answers
        ) as session:
            try:
                run_layers(session, rows_of(session.layers.all))
                self.runs.keep_answers(answers, spec)
                return self._both(session, reference, candidate)
            except UserError as error:
                if session.hello is not None:  # it runs: something else is wrong
                    raise
                reason = f"the candidate's layers cannot be run: {error}"
        return self._by_laws(comparison, reference, candidate, reason)

    def _both(self, session: RerunSession, reference: Path, candidate: Path) -> int:
        from ...compare.comparison import open_comparison
        from ..session import measure_all

        place = self.export / "with_injection" if self.save else self.private / "with_injection"
        injected = place / f"{self.side}_layers"
        self._write_injected(session, injected)
        if self.save:
            copy_capture(reference, place / "torch_layers")
        alone = open_comparison(str(reference), str(injected))
        measure_all(alone, use_cache=False)
        found = self._verification(session, reference, candidate, injected)
        self._export.write("without_injection", session.comparison, found)
        self._export.write("with_injection", alone, found)
        self._export.finish(found)
        statuses = session.comparison.exit_status(), alone.exit_status(), _status(session)
        return max(statuses)

    def _by_laws(
        self, comparison: Comparison, reference: Path, candidate: Path, reason: str
    ) -> int:  # fmt: skip
        """The scenario with injection without running anything."""
        from ...compare.rerun.offline import by_laws, errors_by_law, offline_report, offline_rows

        errors = errors_by_law(comparison, *self._weights(comparison))
        rows, wrong_layers = offline_rows(comparison, errors)
        found = replace(
            self._about(comparison, reference, candidate), wrong_layers=wrong_layers,
            rows=tuple(rows), offline=reason,
        )  # fmt: skip
        self._export.write("without_injection", comparison, found)
        report = offline_report(comparison, errors, found)
        self._export.write_scenario("with_injection", by_laws(comparison, errors), found, report)
        self._export.finish(found)
        told = any(error.state != "unknown" for error in errors.values())
        return max(comparison.exit_status(), 1 if wrong_layers or not told else 0)

    def _weights(self, comparison: Comparison) -> tuple[Weights | None, Weights | None]:
        """The checkpoints of both sides; what has none is said in the notes."""
        from ...capture.errors import CaptureError
        from ...capture.weights import open_weights
        from ...compare.aligned import Note

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

    def _captured(self, given: str | None, side: str, plan: Plan, kept: KeptRun | None) -> Path:
        """The capture of one side: as given, as kept, or made now."""
        target = self.work / f"{side}_layers"
        if given is not None:
            if not self.save:
                return Path(given)
            copy_capture(Path(given), target)
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        engine = ENGINES[self._framework if side == self.side else "torch"]
        if self.runs.take(kept, target, f"the capture in {_TITLES[engine.name]}"):
            return target
        self._capture(plan, engine, target)
        self.runs.keep(kept, target)
        return target

    def _capture(self, plan: Plan, engine: Engine, target: Path) -> None:
        """Run one side and write its capture. Raises `UserError`."""
        from ...capture.models.same_input import fix_input

        if any(case.ids is None for case in plan.cases):  # what was kept went meanwhile
            plan = fix_input(plan)
        run = engine.capture_function()
        with CaptureProgress() as watcher:
            failed = run(plan, str(target), watcher)
        if failed:
            problem = failed[0] if self.save else keep_log(self.export, target, failed[0])
            raise UserError(problem)

    def _spec(self, comparison: Comparison) -> RunnerSpec:
        """The runner of the candidate, with the settings of the run."""
        from ...capture.runners.spec import RunnerSpec
        from ...compare.rerun.remembered import proposed

        plan = self.candidate_plan
        if self.side == "cpp":
            return RunnerSpec("external", model=plan.model, command=self.candidate)
        told = proposed(comparison.candidate)
        engine = ENGINES[self.candidate]
        return replace(
            told, kind=engine.name, model=told.model if engine.files else plan.model, factory=None,
            dtype=plan.dtype or told.dtype, device=plan.device, layers=plan.layers,
            seed=plan.seed, module_api=plan.module_api, allow_unsupported=plan.allow_unsupported,
        )  # fmt: skip

    def _write_injected(self, session: RerunSession, folder: Path) -> None:
        from ...capture.runners.injected import RerunCall, write_injected

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
        from ...compare.rerun.verification import scenario_rows

        rows = session.comparison.rows
        wrong_layers = tuple(dict.fromkeys(rows[index].canonical for index in session.wrong_rows()))
        return replace(
            self._about(session.comparison, reference, candidate), injected=self._saved(injected),
            wrong_layers=wrong_layers, rows=tuple(scenario_rows(session)),
        )  # fmt: skip

    def _about(self, comparison: Comparison, reference: Path, candidate: Path) -> Verification:
        """A verification without results."""
        from ...compare.rerun.verification import Verification

        encoding = self.plan.dtype or comparison.candidate.main_dtype() or "unknown"
        return Verification(
            str(self.export), self.plan.model, encoding, self.command, self._saved(reference),
            self._saved(candidate), None, (), (),
        )  # fmt: skip

    def _saved(self, place: Path) -> str | None:
        """Where a capture lies in the export; None where tensors are not kept."""
        return os.path.relpath(place, self.export) if self.save else None


def _status(session: RerunSession) -> int:
    from ...compare.rerun.report import exit_status

    return exit_status(session, asked=False)


def _on_ids_of(capture: Path, plan: Plan) -> Plan:
    """The plan on the token ids that a capture was made with."""
    from ...capture.models.same_input import on_ids
    from ...capture.open import open_capture

    known = open_capture(str(capture), headers=False).input_ids
    return on_ids(plan, known, plan.cases[0].prompt) if known else plan
