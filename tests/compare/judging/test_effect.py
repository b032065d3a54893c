"""The effect on the logits: against torch's own divergence, and what must never be hidden."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.judging import logits_effect as effect_module
from layertui.compare.judging.logits_effect import logits_rows
from layertui.compare.measuring.pair_reader import CancelledError
from layertui.compare.model import Effect
from layertui.compare.reports import Settings, part_of
from layertui.compare.reports.effect_words import effect_json, effect_line, short_effect_line
from layertui.compare.reports.forms.json_form import json_report
from layertui.compare.reports.forms.text_form import text_report

VOCABULARY = 300
Arrays = Mapping[str, np.ndarray]


def random_logits(*shape: int, seed: int = 0) -> np.ndarray:
    return (4 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def disturbed(x: np.ndarray, size: float, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(x.shape)
    return (x + size * noise).astype(np.float32)


def compared(folder: Path, ref: Sequence[Arrays], cand: Sequence[Arrays]) -> Comparison:
    """Captures with one directory a step, measured; a single step lies in the directory itself."""
    for side, steps in (("ref", ref), ("cand", cand)):
        for number, arrays in enumerate(steps):
            place = folder / side / (str(number) if len(steps) > 1 else "")
            place.mkdir(parents=True, exist_ok=True)
            for name, array in arrays.items():
                np.save(place / f"{name}.npy", array)
            (place / "tensor_names.txt").write_text("".join(f"{name}\n" for name in arrays))
    comparison = open_comparison(str(folder / "ref"), str(folder / "cand"))
    comparison.measure(use_cache=False)
    return comparison


def of_heads(folder: Path, ref: np.ndarray, cand: np.ndarray) -> Effect | None:
    return compared(folder, [{"lm_head-output": ref}], [{"lm_head-output": cand}]).find_effect()


def by_torch(ref: np.ndarray, cand: np.ndarray) -> np.ndarray:
    """KL(reference || candidate) of every token, as torch has it."""
    p, q = (torch.log_softmax(torch.from_numpy(x).double(), -1) for x in (ref, cand))
    return torch.nn.functional.kl_div(q, p, reduction="none", log_target=True).sum(-1).numpy()


@pytest.mark.parametrize("size", [1e-6, 0.01, 1.0, 30.0])
def test_as_torch_has_it(tmp_path: Path, size: float) -> None:
    ref = random_logits(2, 7, VOCABULARY)
    cand = disturbed(ref, size)
    found = of_heads(tmp_path, ref, cand)
    assert found is not None
    assert found.logits_kl == pytest.approx(by_torch(ref, cand).mean(), rel=1e-9, abs=1e-15)
    assert found.top1_agreement == (ref.argmax(-1) == cand.argmax(-1)).mean()
    assert found.tokens == 14 and not found.generated


def test_first_differing_token_and_the_margin_there(tmp_path: Path) -> None:
    ref = np.zeros((1, 5, VOCABULARY), np.float32)
    ref[..., 7] = 3.0
    ref[0, 3, 9] = 2.75
    cand = ref.copy()
    cand[0, 3, 9] = 3.25
    found = of_heads(tmp_path, ref, cand)
    assert found is not None
    assert (found.top1_agreement, found.first_differing_token, found.margin) == (0.8, 3, 0.25)


def test_equal_logits(tmp_path: Path) -> None:
    ref = random_logits(1, 4, VOCABULARY)
    assert of_heads(tmp_path, ref, ref) == Effect(0.0, 1.0, None, None, 4, False)


def test_nan_is_never_agreement(tmp_path: Path) -> None:
    """Not even where both sides have it at the same place."""
    ref = random_logits(1, 4, VOCABULARY)
    ref[0, 2, 5] = np.nan
    for number, cand in enumerate((ref, disturbed(ref, 1e-3))):
        comparison = compared(
            tmp_path / str(number), [{"lm_head-output": ref}], [{"lm_head-output": cand}]
        )
        found = comparison.find_effect()
        assert found is not None and np.isnan(found.logits_kl)
        assert (found.top1_agreement, found.first_differing_token) == (0.75, 2)
        assert json_report(comparison, "")["effect"] == {
            "logits_kl": "NaN", "top1_agreement": 0.75, "first_differing_token": 2, "margin": "NaN",
        }  # fmt: skip
        assert "KL NaN" in effect_line(found) and "margin NaN" in short_effect_line(found)


def test_nan_of_the_candidate_alone(tmp_path: Path) -> None:
    ref = random_logits(1, 4, VOCABULARY)
    cand = ref.copy()
    cand[0, 0] = np.nan
    found = of_heads(tmp_path, ref, cand)
    assert found is not None and np.isnan(found.logits_kl)
    assert found.top1_agreement == 0.75 and found.first_differing_token == 0
    top = np.sort(ref[0, 0])
    assert found.margin == pytest.approx(top[-1] - top[-2])


def test_tokens_that_cannot_be_chosen(tmp_path: Path) -> None:
    """-Inf on both sides is no difference; where the candidate alone excludes what the reference
    gives a share, the divergence is infinite.
    """
    ref = random_logits(1, 3, VOCABULARY)
    ref[..., 290:] = -np.inf
    cand = disturbed(ref, 0.1)
    found = of_heads(tmp_path / "both", ref, cand)
    assert found is not None
    kl = by_torch(ref[..., :290], cand[..., :290])
    assert found.logits_kl == pytest.approx(kl.mean(), rel=1e-9)
    cand[0, 1, 3] = -np.inf
    found = of_heads(tmp_path / "one", ref, cand)
    assert found is not None and found.logits_kl == np.inf


def test_blocks_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = random_logits(3, 5, VOCABULARY)
    cand = disturbed(ref, 0.3)
    whole = of_heads(tmp_path / "whole", ref, cand)
    for name, most in (("parts", 2 * VOCABULARY), ("rows", 1)):
        monkeypatch.setattr(effect_module, "AT_ONCE", most)
        monkeypatch.setattr(effect_module, "AT_ONCE_COMPILED", most)
        assert of_heads(tmp_path / name, ref, cand) == whole


def test_what_the_model_returned_counts_rather_than_its_head(tmp_path: Path) -> None:
    """Logits may be capped or scaled behind the head."""
    ref, cand = random_logits(1, 6, VOCABULARY), disturbed(random_logits(1, 6, VOCABULARY), 0.5)

    def side(x: np.ndarray) -> Arrays:
        capped = (2 * np.tanh(x / 2)).astype(np.float32)
        return {"model.lm_head-output": x, "model-output_logits": capped}

    comparison = compared(tmp_path, [side(ref)], [side(cand)])
    assert [row.slot for row in logits_rows(comparison.aligned, comparison.results)] == [
        "output_logits"
    ]
    capped = (2 * np.tanh(x / 2).astype(np.float32) for x in (ref, cand))
    found = comparison.find_effect()
    assert found is not None
    assert found.logits_kl == pytest.approx(by_torch(*capped).mean(), rel=1e-4)


@pytest.mark.parametrize(
    "name, width, known",
    [("model-output_logits", 2, False), ("model-output_logits", VOCABULARY, True),
     ("model-output_last_hidden_state", VOCABULARY, False), ("layers.0.mlp-output", 300, False)],
)  # fmt: skip
def test_what_are_logits(tmp_path: Path, name: str, width: int, known: bool) -> None:
    ref = random_logits(1, 6, width)
    comparison = compared(tmp_path, [{name: ref}], [{name: disturbed(ref, 0.1)}])
    assert (comparison.find_effect() is not None) is known
    assert (json_report(comparison, "")["effect"] is not None) is known
    assert ("logits: KL" in text_report(comparison, "")) is known


def test_padding_does_not_count(tmp_path: Path) -> None:
    ref = random_logits(2, 4, VOCABULARY)
    cand = disturbed(ref, 0.1)
    cand[1, :2] = random_logits(2, VOCABULARY, seed=9)  # of tokens that stand for nothing
    mask = np.array([[1, 1, 1, 1], [0, 0, 1, 1]])
    sides = [[{"model-input_attention_mask": mask, "model-output_logits": x}] for x in (ref, cand)]
    found = compared(tmp_path, *sides).find_effect()
    assert found is not None and found.tokens == 6
    kl = by_torch(ref, cand)[mask != 0].mean()
    assert found.logits_kl == pytest.approx(kl, rel=1e-9)


def test_the_last_token_of_a_batch(tmp_path: Path) -> None:
    """An engine that keeps the logits of last tokens alone: each row chooses a token."""
    ref = random_logits(3, 5, VOCABULARY)
    cand = disturbed(ref, 0.01)[:, -1].copy()
    cand[1] = ref[1, -1][::-1]
    comparison = compared(tmp_path, [{"lm_head-output": ref}], [{"lm_head-output": cand}])
    found = comparison.find_effect()
    assert found is not None and found.generated
    assert (found.tokens, found.first_differing_token) == (3, 0)
    assert found.top1_agreement == pytest.approx(2 / 3)


# Several steps


def steps_of(
    *, ids: bool, apart_from: int | None, recorded_ids: str = "same"
) -> list[list[Arrays]]:
    """Both sides of a prompt of 4 tokens and three steps; the token that step `apart_from` chooses
    is another one, and where `recorded_ids` is "own", the ids given to the next steps, too.
    """
    sides: list[list[Arrays]] = []
    for side in range(2):
        steps: list[Arrays] = []
        for number in range(4):
            logits = random_logits(1, 4 if number == 0 else 1, VOCABULARY, seed=number)
            if side and number == apart_from:
                logits[0, -1] = logits[0, -1][::-1]
            own = side and apart_from is not None and number > apart_from
            if own:
                logits = random_logits(*logits.shape, seed=100 + number)
            arrays: dict[str, np.ndarray] = {}
            if ids:
                given = np.arange(logits.shape[1])[None] + number
                arrays["embed_tokens-input_0"] = given + (own and recorded_ids == "own")
            arrays["lm_head-output"] = logits
            steps.append(arrays)
        sides.append(steps)
    return sides


def test_generated_tokens_are_counted_by_step(tmp_path: Path) -> None:
    found = compared(tmp_path, *steps_of(ids=True, apart_from=2, recorded_ids="own")).find_effect()
    assert found is not None and found.generated
    assert (found.first_differing_token, found.tokens) == (2, 6)  # 4 of the prompt, 2 steps
    assert found.top1_agreement == pytest.approx(5 / 6)


def test_what_follows_on_other_tokens_is_not_compared(tmp_path: Path) -> None:
    """Where the ids are not recorded, they are other ones behind a token that differs."""
    found = compared(tmp_path, *steps_of(ids=False, apart_from=1)).find_effect()
    assert found is not None
    assert (found.first_differing_token, found.tokens) == (1, 5)


def test_steps_that_were_given_the_same_tokens_are_all_compared(tmp_path: Path) -> None:
    found = compared(tmp_path, *steps_of(ids=True, apart_from=1)).find_effect()
    assert found is not None
    assert (found.first_differing_token, found.tokens) == (1, 7)


def test_nothing_is_said_of_other_prompts(tmp_path: Path) -> None:
    def side(first: int) -> Arrays:
        ids = np.arange(4)[None] + first
        return {"embed_tokens-input_0": ids, "lm_head-output": random_logits(1, 4, VOCABULARY)}

    assert compared(tmp_path, [side(0)], [side(1)]).find_effect() is None


def test_a_prompt_that_differs_inside_generates_the_same(tmp_path: Path) -> None:
    sides = steps_of(ids=True, apart_from=None)
    changed = np.array(sides[1][0]["lm_head-output"])
    changed[0, 1] = changed[0, 1][::-1]
    sides[1][0] = {**sides[1][0], "lm_head-output": changed}
    found = compared(tmp_path, *sides).find_effect()
    assert found is not None
    assert found.first_differing_token is None and found.top1_agreement == pytest.approx(6 / 7)
    assert "no generated token differs" in effect_line(found)


# When, and how it is said


def test_worked_out_once_and_not_before_all_is_measured(tmp_path: Path) -> None:
    ref = random_logits(1, 4, VOCABULARY)
    for side, x in (("ref", ref), ("cand", disturbed(ref, 0.1))):
        (tmp_path / side).mkdir()
        np.save(tmp_path / side / "lm_head-output.npy", x)
    comparison = open_comparison(str(tmp_path / "ref"), str(tmp_path / "cand"))
    assert comparison.find_effect() is None
    comparison.measure(use_cache=False)
    assert comparison.known_effect is None
    with pytest.raises(CancelledError):
        comparison.find_effect(lambda: True)
    assert comparison.known_effect is None
    found = comparison.find_effect()
    assert found is not None and comparison.known_effect is found
    (tmp_path / "ref" / "lm_head-output.npy").unlink()
    assert comparison.find_effect() is found


def test_a_record_that_cannot_be_read_any_more(tmp_path: Path) -> None:
    ref = random_logits(1, 4, VOCABULARY)
    comparison = compared(
        tmp_path, [{"lm_head-output": ref}], [{"lm_head-output": disturbed(ref, 0.1)}]
    )
    (tmp_path / "cand" / "lm_head-output.npy").unlink()
    assert comparison.find_effect() is None


def test_a_model_in_two_engines(real: Path) -> None:
    pair = real / "llama_v3_badweights-f32"
    comparison = open_comparison(str(pair / "torch_dump"), str(pair / "max_dump"))
    comparison.measure(use_cache=False)
    found = comparison.find_effect()
    assert found is not None and found.generated
    assert found.top1_agreement == 0 and found.first_differing_token == 0
    assert found.logits_kl > 1


def test_in_every_report(tmp_path: Path) -> None:
    ref = np.zeros((1, 5, VOCABULARY), np.float32)
    ref[..., 7] = 3.0
    ref[0, 3, 9] = 2.75
    cand = ref.copy()
    cand[0, 3, 9] = 3.25
    comparison = compared(tmp_path, [{"lm_head-output": ref}], [{"lm_head-output": cand}])
    found = comparison.find_effect()
    assert found is not None
    said = (
        f"logits: KL {found.logits_kl:.2g} nats, top-1 agrees at 4 of 5 tokens; the first to "
        "differ is at position 3 (the reference's margin there: 0.25)"
    )
    assert effect_line(found) == said
    for form in ("text", "html", "junit", "markdown"):
        text = html.unescape(part_of(comparison, form, Settings("x")).text)
        assert said in text, form
    report = json.loads(part_of(comparison, "json", Settings("x")).text)
    assert report["effect"] == effect_json(found)
    assert report["effect"]["first_differing_token"] == 3
