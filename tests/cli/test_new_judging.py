"""A policy, a symptom and a law that are each added to their table are there in every place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

MODULE = '''
from dataclasses import dataclass, replace
import numpy as np
from layertui.compare.judging.policies.base import LimitedPolicy
from layertui.compare.laws.law import Fit, Hypothesis, Prediction, Site, read_case
from layertui.compare.model import Symptom, Verdict


@dataclass(frozen=True)
class ToyPolicy(LimitedPolicy):
    overrides: tuple = ()
    name = "toy"

    @staticmethod
    def from_limits(thresholds, rtol, atol, overrides):
        return ToyPolicy(overrides)

    def describe(self):
        return "toy: nothing may differ by 0.2"

    def judge_numbers(self, row, result):
        return Verdict("diverged" if result.max_abs > 0.2 else "ok", "as the toy has it")


def toy_symptom(difference):
    yield Symptom("toy-like", 1.0, f"{difference.pair.x.size} toy elements")


class ToyLaw:
    """y = 2 x."""

    name = "toy-law"

    def sites(self, scene):
        side = scene.reference
        for key in list(side.known):
            if key.slot == "output" and key.module.endswith("toymodule"):
                own = side.main_input(key.module, key.step, key.call)
                if own is not None and key in scene.candidate.known:
                    yield Site(self.name, key.module, key, "toymodule", (("x", (own.key,)),))

    def read(self, scene, site, side, rows):
        return read_case(scene, site, side, rows, ("x",))

    def fit(self, scene, site, reference):
        yield Fit({"factor": 2.0}, {"factor": "2"}, read=True)

    def predict(self, scene, site, fit, cases):
        return [prediction(case, fit.values["factor"]) for case in cases]

    def hypotheses(self, scene, site, fit, reference, candidate):
        yield Hypothesis("toy-factor", "the toy factor is 3 where the reference has 2",
                         lambda: prediction(candidate, 3.0), "factor", "2", "3")


def prediction(case, factor):
    value = factor * case.inputs["x"]
    return Prediction(value, case.units["output"] * np.abs(value))
'''
ADDED = """
import layertui.compare.vocabulary as vocabulary
vocabulary.POLICY_CLASSES["toy"] = "toy:ToyPolicy"
vocabulary.POLICIES = (*vocabulary.POLICY_CLASSES, "default")
import layertui.compare.laws.registry as laws
import layertui.compare.symptoms.registry as symptoms
import toy
symptoms.TESTS += (toy.toy_symptom,)
laws.LAWS += (toy.ToyLaw(),)
"""
COMMAND = "from layertui.cli.main import run\nrun()\n"
SCREEN = """
from layertui.compare.comparison import open_comparison
from layertui.compare.reports.row_report import row_report
from layertui.tui.list.limits import parse_limits
limits = parse_limits("policy=toy")
comparison = open_comparison("ref", "cand", policy=limits.make())
comparison.measure(use_cache=False)
print(limits.options, comparison.policy.describe(), [v.level for v in comparison.verdicts])
"""


def run(folder: Path, *words: str, program: str = COMMAND) -> subprocess.CompletedProcess[str]:
    (folder / "toy.py").write_text(MODULE)
    return subprocess.run(
        [sys.executable, "-c", ADDED + program, *words],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layers of y = 2 x; the candidate's second layer is 3 x."""
    root = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(0)
    for side in ("ref", "cand"):
        (root / side).mkdir()
    for number in range(3):
        x = rng.standard_normal((12, 16)).astype(np.float32)
        factors = {"ref": 2, "cand": 3 if number == 1 else 2}
        for side, factor in factors.items():
            name = root / side / f"layers.{number}.toymodule"
            np.save(f"{name}-input_0.npy", x)
            np.save(f"{name}-output.npy", np.float32(factor) * x)
    return root


def test_a_policy(captures: Path) -> None:
    shown = " ".join(run(captures, "compare", "--help").stdout.split())
    assert "[noise|dtype|fixed|toy|default]" in shown
    words = ("compare", "ref", "cand", "--policy", "toy")
    done = run(captures, *words)
    assert done.returncode == 1, done.stderr
    assert "toy: nothing may differ by 0.2" in done.stdout and "as the toy has it" in done.stdout
    report = json.loads(run(captures, *words, "--format", "json").stdout)
    assert report["first_divergence"]["reason"] == "as the toy has it"
    assert "--policy toy" in report["command"]
    shown = run(captures, program=SCREEN).stdout
    assert shown.startswith("['--policy', 'toy'] toy: nothing may differ by 0.2 [")
    assert shown.count("'diverged'") == 1


def test_a_symptom(captures: Path) -> None:
    found = json.loads(run(captures, "compare", "ref", "cand", "--format", "json").stdout)
    symptoms = found["first_divergence"]["symptoms"]
    assert {"name": "toy-like", "score": 1.0, "evidence": "192 toy elements"} in symptoms
    for words in (("compare", "ref", "cand"), ("show", "ref", "cand", "layers.1.toymodule-output")):
        assert "toy-like" in run(captures, *words).stdout, words


def test_a_law(captures: Path) -> None:
    found = json.loads(run(captures, "compare", "ref", "cand", "--format", "json").stdout)
    (cause,) = found["first_divergence"]["causes"]
    assert (cause["name"], cause["reference"], cause["candidate"]) == ("toy-factor", "2", "3")
    for words in (
        ("compare", "ref", "cand"), ("explain", "ref", "cand", "layers.1.toymodule"),
        ("show", "ref", "cand", "layers.1.toymodule-output"),
    ):  # fmt: skip
        text = run(captures, *words).stdout
        assert "the toy factor is 3 where the reference has 2" in text, words
