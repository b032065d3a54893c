"""Steps and ranks in names of files, folders and keys, and the order in which a file lists its
tensors.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from layertui.capture import Capture, open_capture
from layertui.capture.places import place_keys, place_of


@pytest.mark.parametrize(
    ("name", "rest", "step", "rank"),
    [
        ("step0", "", 0, None),
        ("step_12/model.norm-output", "model.norm-output", 12, None),
        ("Pass00003", "", 3, None),
        ("iter-4/a/b", "a/b", 4, None),
        ("decode_2", "", 2, None),
        ("step:3|layers.0.mlp", "layers.0.mlp", 3, None),
        ("step=3/layers.0.mlp", "layers.0.mlp", 3, None),
        ("prefill", "", 0, None),
        ("L00_A_pre_attn_step01", "L00_A_pre_attn", 1, None),
        ("step_007_layers.3.mlp", "layers.3.mlp", 7, None),
        ("rank0/act", "act", None, "rank0"),
        ("rank_1/step_2/act", "act", 2, "rank1"),
        ("TP0_PP1_Rank3_pid4242/Pass00001", "", 1, "rank3"),
        ("tp1", "", None, "tp1"),
        ("tp_1_pp_0/x", "x", None, "tp1-pp0"),
        ("acts_rank1", "acts", None, "rank1"),
        ("model_rank_0_of_2", "model", None, "rank0"),
        ("rank1_step3", "", 3, "rank1"),
        ("mp_rank_01_002/x", "x", None, "tp1-pp2"),
        ("cuda_1/x", "x", None, "rank1"),
        ("device0", "", None, "rank0"),
        ("layers.0.mlp", "layers.0.mlp", None, None),
        ("footstep3", "footstep3", None, None),
        ("steps", "steps", None, None),
        ("model.iterator2", "model.iterator2", None, None),
        ("bypass1.conv", "bypass1.conv", None, None),
    ],
)
def test_steps_and_ranks_are_taken_out_of_names(
    name: str, rest: str, step: int | None, rank: str | None
) -> None:
    place = place_of(name)
    assert (place.rest, place.step, place.rank) == (rest, step, rank)


def test_keys_keep_a_word_that_only_few_of_them_have() -> None:
    keys = ["embed", "block.step1", "block.mlp", "norm", "lm_head"]
    assert place_keys(keys) == [(key, None) for key in keys]
    assert place_keys(["step0/a", "step0/b", "step1/a"]) == [("a", 0), ("b", 0), ("a", 1)]
    assert place_keys(["prefill/a", "decode_0/a", "decode_1/a"]) == [("a", 0), ("a", 1), ("a", 2)]


def tensors(seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    names = ("model.embed_tokens", "model.layers.0.mlp", "model.layers.10", "model.norm", "lm_head")
    return {name: torch.randn(3, 4, generator=draw) for name in names}


def listed(capture: Capture) -> list[tuple[int, str]]:
    return [(record.step, record.name) for record in capture.records]


def expected(steps: int = 1) -> list[tuple[int, str]]:
    return [(step, name) for step in range(steps) for name in tensors(0)]


@pytest.mark.parametrize(
    "name", ["step{}.pt", "step_{}/acts.pt", "Pass{:05}.pt", "iter{}.pt", "{}/acts.pt"]
)
def test_a_file_a_step(tmp_path: Path, name: str) -> None:
    for step in range(11):
        path = tmp_path / name.format(step)
        path.parent.mkdir(exist_ok=True)
        torch.save(tensors(step), path)
    capture = open_capture(tmp_path)
    assert listed(capture) == expected(11)
    assert (capture.order_known, capture.order_source) == (True, "order of the file")
    assert capture.order_strength == 1
    assert capture.unreadable == 0


def test_prefill_and_steps_of_decoding(tmp_path: Path) -> None:
    for name in ("prefill", "decode_0", "decode_1"):
        torch.save(tensors(0), tmp_path / f"{name}.pt")
    assert listed(open_capture(tmp_path)) == expected(3)


def test_lists_of_dicts_are_steps_and_lists_of_layers_are_not(tmp_path: Path) -> None:
    torch.save([tensors(0), tensors(1), tensors(2)], tmp_path / "acts.pt")
    assert listed(open_capture(tmp_path / "acts.pt")) == expected(3)
    layers = [{"attn": torch.ones(2), "mlp": torch.zeros(2)} for _ in range(3)]
    torch.save(layers, tmp_path / "acts.pt")
    capture = open_capture(tmp_path / "acts.pt")
    assert [name for _, name in listed(capture)] == [
        f"{index}/{name}" for index in range(3) for name in ("attn", "mlp")
    ]
    assert {step for step, _ in listed(capture)} == {0}


def test_steps_in_the_keys_of_a_file(tmp_path: Path) -> None:
    torch.save({f"step_{step}": tensors(step) for step in range(3)}, tmp_path / "a.pt")
    assert listed(open_capture(tmp_path)) == expected(3)
    arrays = {f"step{s}/{n}": v.numpy() for s in range(3) for n, v in tensors(s).items()}
    np.savez(tmp_path / "b.npz", **arrays)
    assert listed(open_capture(tmp_path / "b.npz")) == expected(3)


def test_one_step_opened_by_itself_is_the_first(tmp_path: Path) -> None:
    torch.save(tensors(0), tmp_path / "step7.pt")
    assert listed(open_capture(tmp_path / "step7.pt")) == expected()
    assert listed(open_capture(tmp_path))[0] == (7, "model.embed_tokens")


@pytest.mark.parametrize(
    "name", ["rank{}.pt", "rank_{}/acts.pt", "TP{0}_PP0_Rank{0}_pid{0}77/Pass00000.pt", "tp{}.pt"]
)
def test_ranks_are_shown_apart(tmp_path: Path, name: str) -> None:
    whole = tensors(0)
    for rank in range(2):
        own = dict(whole)
        own["model.layers.0.mlp"] = tensors(rank + 1)["lm_head"]
        path = tmp_path / name.format(rank)
        path.parent.mkdir(exist_ok=True)
        torch.save(own, path)
    capture = open_capture(tmp_path)
    assert capture.unreadable == 0
    label = "tp" if name.startswith("tp") else "rank"
    assert [record.name for record in capture.records] == [
        f"{label}0/{key}" if key == "model.layers.0.mlp" else key for key in whole
    ] + [f"{label}1/model.layers.0.mlp"]
    assert capture.of_ranks is not None  # the others are equal to the first rank's
    same = [record.name for record in capture.of_ranks.parts]
    assert same == [key for key in whole if key != "model.layers.0.mlp"]
    assert capture.notes[-1].startswith("2 ranks: of 5 tensors 4 look the same on all of them")


def test_ranks_with_other_layers_keep_their_names(tmp_path: Path) -> None:
    for rank in range(2):
        own = {f"layers.{2 * rank + i}.mlp": torch.ones(2) for i in range(2)}
        torch.save(own, tmp_path / f"pp{rank}.pt")
    assert [name for _, name in listed(open_capture(tmp_path))] == [
        f"layers.{i}.mlp" for i in range(4)
    ]


def test_a_single_rank_is_none(tmp_path: Path) -> None:
    torch.save(tensors(0), tmp_path / "rank0.pt")
    (record, *_) = open_capture(tmp_path).records
    assert (record.name, record.rank) == ("model.embed_tokens", None)


def test_files_of_one_tensor_a_step(tmp_path: Path) -> None:
    for layer in (0, 1, 10):
        for step in range(2):
            np.save(tmp_path / f"L{layer}_post_step{step:02}.npy", np.ones(3) * step)
    assert listed(open_capture(tmp_path)) == [
        (step, f"L{layer}_post") for step in range(2) for layer in (0, 1, 10)
    ]


# Order


def test_the_order_of_keys_is_weaker_than_a_names_file(tmp_path: Path) -> None:
    torch.save(tensors(0), tmp_path / "acts.pt")
    names = list(tensors(0))[::-1]
    (tmp_path / "tensor_names.txt").write_text("\n".join(names))
    capture = open_capture(tmp_path)
    assert [name for _, name in listed(capture)] == names
    assert (capture.order_source, capture.order_strength) == ("tensor_names.txt", 2)
    assert capture.notes == []
    (tmp_path / "tensor_names.txt").write_text("\n".join(names[:2]))
    capture = open_capture(tmp_path)
    assert listed(capture) == expected()
    assert capture.order_source == "order of the file"


def test_members_of_an_npz_keep_the_order_of_the_archive(tmp_path: Path) -> None:
    arrays = {name: value.numpy() for name, value in tensors(0).items()}
    np.savez(tmp_path / "a.npz", **arrays)
    assert listed(open_capture(tmp_path / "a.npz")) == expected()


def test_results_that_stand_first_go_last(tmp_path: Path) -> None:
    names = ("logits", "present.0.key", "/model/embed/Gather_output_0", "/model/norm/Mul_output_0")
    np.savez(tmp_path / "a.npz", **{name: np.ones(2) for name in names})
    assert [name for _, name in listed(open_capture(tmp_path / "a.npz"))] == [
        *names[2:], *names[:2]
    ]  # fmt: skip


def test_the_order_of_the_alphabet_is_none(tmp_path: Path) -> None:
    torch.save({name: torch.ones(2) for name in ("a.mlp", "b.attn", "c.norm")}, tmp_path / "a.pt")
    assert not open_capture(tmp_path).order_known
    torch.save(tuple(torch.ones(2) for _ in range(12)), tmp_path / "a.pt")
    capture = open_capture(tmp_path)
    assert capture.order_known
    assert [name for _, name in listed(capture)] == [str(index) for index in range(12)]
