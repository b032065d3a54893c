"""Both scenarios of a verification: the candidate as captured, and with every layer fed the
reference's inputs; their report, and the directory that keeps them.

    EXPORT/verification.json
    EXPORT/without_injection/{<candidate>_layers/, <reference>_layers/, module_names_<side>.txt,
                              mse_plot.png, layer_verification_report_<model>_<encoding>.txt}
    EXPORT/with_injection/   (the same)
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from ...capture.errors import CaptureError
from ..model import Failure, Measurement, by_values
from ..running.cache import decoded, encoded
from .judge import Judgement, JudgementKind

if TYPE_CHECKING:
    from .session import RerunSession

SCHEMA = "layertui.verification/1"
FILE = "verification.json"
WITHOUT, WITH = "without_injection", "with_injection"
BY_LAWS = "with injection by the layers' laws, nothing was run"
_MOST_BYTES = 256 << 20
_SAME, _MUCH_LOWER = 0.5, 0.1  # single against entire


@dataclass(frozen=True, slots=True)
class ScenarioRow:
    """One output in both scenarios: `entire` as captured, `single` with injected inputs."""

    canonical: str
    slot: str
    call: int
    step: int
    reference: str
    candidate: str
    entire: Measurement | None
    inputs: Measurement | None
    single: Measurement | None
    judgement: str
    sentence: str

    @property
    def as_judged(self) -> Judgement:
        """The judgement as it was written; one of no known kind is no judgement."""
        known = self.judgement in get_args(JudgementKind)
        return Judgement(cast(JudgementKind, self.judgement if known else "unknown"), self.sentence)

    @property
    def words(self) -> str:
        """What the two errors say when they are laid side by side."""
        entire = self.entire.mse if self.entire is not None else None
        single = self.single.mse if self.single is not None else None
        if self.judgement in ("unlike", "unknown"):
            return self.sentence
        if self.judgement in ("wrong", "inside"):
            alike = entire is not None and single is not None and single >= _SAME * entire
            return self.sentence + ("; the same in both: the implementation" if alike else "")
        if entire is None or single is None:
            return "not measured in both"
        if entire == single:
            return "the same in both"
        if single <= _MUCH_LOWER * entire:
            return "much lower with injection: accumulated"
        return "the same in both: rounding of the implementation" if single >= _SAME * entire else (
            "lower with injection"
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verification:
    """What `layertui verify` wrote. Paths of captures are None where no tensors were saved.
    `offline` says why nothing was run with injection, None where it was.
    """

    path: str
    model: str
    encoding: str
    command: str
    reference: str | None
    candidate: str | None
    injected: str | None
    wrong_layers: tuple[str, ...]
    rows: tuple[ScenarioRow, ...]
    offline: str | None = None

    def fill(self, session: RerunSession) -> int:
        """Give the single errors to a session of the comparison `reference` against `candidate`,
        as if it had rerun the layers; returns how many rows got one. The rerun's tensors are those
        of the injected capture, where it was saved.
        """
        from .results import RerunResult

        known = {(row.candidate, row.canonical, row.slot, row.step): row for row in self.rows}
        outputs = self._outputs()
        notes = () if self.offline is None else (f"{BY_LAWS} ({self.offline})",)
        filled = 0
        for row in session.comparison.rows:
            if row.kind != "pair" or row.candidate is None:
                continue
            found = known.get((row.candidate.name, row.canonical, row.slot, row.step))
            if found is None:
                continue
            key = (row.candidate.module, row.candidate.call, row.step, row.candidate.slot)
            problem = found.sentence if found.judgement == "unknown" else None
            session.results[row.index] = RerunResult(
                row.index, row.canonical, found.single, found.inputs, problem=problem,
                output=outputs.get(key), remembered=True, notes=notes,
                judgement=None if self.offline is None else found.as_judged,
            )  # fmt: skip
            filled += 1
        return filled

    def _outputs(self) -> dict[tuple[str, int, int, str], Any]:
        if self.injected is None:
            return {}
        from ...capture.open import open_capture

        records = open_capture(self.injected).records
        return {(r.module, r.call, r.step, r.slot): r.locator for r in records if r.locator}


def is_export(path: str) -> bool:
    """True for a directory that `layertui verify` wrote."""
    return os.path.isfile(os.path.join(path, FILE))


def open_export(path: str) -> Verification:
    """Read what `layertui verify` wrote. Raises `CaptureError`."""
    place = os.path.join(path, FILE)
    try:
        if os.path.getsize(place) > _MOST_BYTES:
            raise CaptureError(f"{place}: too large to be a verification")
        content = json.loads(Path(place).read_text(encoding="utf-8"))
        if content.get("schema") != SCHEMA:
            raise CaptureError(f"{place}: not of the schema {SCHEMA}")
        if content.get("complete") is False:
            again = str(content["command"])
            raise CaptureError(
                f"{path}: its verification was not finished; run it again with --overwrite: {again}"
            )
        return Verification(
            path, str(content["model"]), str(content["encoding"]), str(content["command"]),
            _inside(path, content["reference"]), _inside(path, content["candidate"]),
            _inside(path, content["injected"]), tuple(map(str, content["blamed"])),
            tuple(map(_row, content["rows"])), _words(content.get("offline")),
        )  # fmt: skip
    except OSError as error:
        raise CaptureError(f"{place}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CaptureError(f"{place}: damaged: {type(error).__name__}") from error


def _words(value: Any) -> str | None:
    return None if value is None else str(value)


def _inside(path: str, place: Any) -> str | None:
    """A capture of the export; nothing outside its directory is opened because a file says so."""
    if not isinstance(place, str):
        return None
    full = os.path.realpath(os.path.join(path, place))
    within = full.startswith(os.path.realpath(path) + os.sep)
    return os.path.join(path, place) if within and os.path.isdir(full) else None


def _row(entry: dict[str, Any]) -> ScenarioRow:
    def numbers(name: str) -> Measurement | None:
        return decoded(json.dumps(entry[name]))

    return ScenarioRow(
        str(entry["canonical"]), str(entry["slot"]), int(entry["call"]), int(entry["step"]),
        str(entry["reference"]), str(entry["candidate"]),
        numbers("entire"), numbers("inputs"), numbers("single"),
        str(entry["judgement"]), str(entry["sentence"]),
    )  # fmt: skip


def scenario_rows(session: RerunSession) -> list[ScenarioRow]:
    """Every output that was to be rerun, in execution order."""
    comparison = session.comparison
    found: list[ScenarioRow] = []
    for index in sorted(session.results):
        row, result = comparison.rows[index], session.results[index]
        judgement = session.judgement(index)
        found.append(
            ScenarioRow(
                row.canonical, row.slot, row.call, row.step,
                row.reference.name if row.reference else "",
                row.candidate.name if row.candidate else "",
                _measured(by_values(comparison.measurements[index])), _measured(result.inputs),
                _measured(result.single), judgement.kind, judgement.sentence,
            )
        )  # fmt: skip
    return found


def _measured(result: Measurement | Failure | None) -> Measurement | None:
    return result if isinstance(result, Measurement) else None


def unfinished_json(command: str) -> str:
    """What stands in `verification.json` until `command` is done."""
    content = {"schema": SCHEMA, "command": command, "complete": False}
    return json.dumps(content, indent=1) + "\n"


def verification_json(verification: Verification) -> str:
    """The content of `verification.json`."""

    def numbers(measurement: Measurement | None) -> Any:
        return None if measurement is None else json.loads(encoded(measurement))

    rows = [
        {
            "canonical": row.canonical, "slot": row.slot, "call": row.call, "step": row.step,
            "reference": row.reference, "candidate": row.candidate,
            "entire": numbers(row.entire), "inputs": numbers(row.inputs),
            "single": numbers(row.single), "judgement": row.judgement, "sentence": row.sentence,
        }
        for row in verification.rows
    ]  # fmt: skip
    content = {
        "schema": SCHEMA, "complete": True, "model": verification.model,
        "encoding": verification.encoding, "command": verification.command,
        "reference": verification.reference,
        "candidate": verification.candidate, "injected": verification.injected,
        "blamed": list(verification.wrong_layers), "offline": verification.offline, "rows": rows,
    }  # fmt: skip
    return json.dumps(content, indent=1) + "\n"
