"""Names that people give to what they dump from hooks and prints of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layertui.capture.open import open_capture
from layertui.compare.comparison import open_comparison
from layertui.compare.matching.align import align
from layertui.compare.matching.names.canonical import NameRules, canonical_name
from layertui.compare.matching.names.naming import read_names
from layertui.compare.running.content_matching import match_content


@pytest.mark.parametrize(
    ("name", "module", "slot"),
    [
        ("l3.resid_post", "layers.3", "output"),
        ("L03/resid_pre", "layers.3", "input_0"),
        ("layer_3.resid_mid", "layers.3.post_attention_layernorm", "input_0"),
        ("layer3_q", "layers.3.self_attn.q_proj", None),
        ("layers.3.wo", "layers.3.self_attn.o_proj", None),
        ("block3/down", "layers.3.mlp.down_proj", None),
        ("h3_w13", "layers.3.mlp.gate_up_proj", None),
        ("h3_c_attn", "layers.3.self_attn.qkv_proj", None),
        ("h3_ln2", "layers.3.post_attention_layernorm", None),
        ("layer_3.pre_attn_norm", "layers.3.input_layernorm", None),
        ("model.layers.3.self_attn.q_proj (Linear)", "layers.3.self_attn.q_proj", None),
        ("Final norm", "norm", None),
        ("Logits", "lm_head", "output"),
        # two things to different people, or blocks of their own
        ("layers.3.pre_attn", "layers.3.pre_attn", None),
        ("layers.3.hidden_states", "layers.3.hidden_states", None),
        ("down_3", "down_3", None),
        ("layers.3.attn.inner.q", "layers.3.self_attn.inner.q", None),
        ("layers.q", "layers.q", None),
    ],
)  # fmt: skip
def test_words_directly_in_a_layer(name: str, module: str, slot: str | None) -> None:
    found = canonical_name(name, "", NameRules())
    assert (found.module, found.slot) == (module, slot)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["q_0", "k_0", "attn_out_0", "down_0", "resid_post_0"],
         ["layers.0.self_attn.q_proj", "layers.0.self_attn.k_proj",
          "layers.0.self_attn.o_proj", "layers.0.mlp.down_proj", "layers.0"]),
        (["down_0", "down_1", "mid_0", "up_0"], ["down_0", "down_1", "mid_0", "up_0"]),
        (["Layer 0 MLP output", "Layer 0 output", "Embedding output"],
         ["layers.0.mlp", "layers.0", "embed_tokens"]),
        (["model__layers__0__mlp__input", "model__layers__0__mlp__output"],
         ["layers.0.mlp", "layers.0.mlp"]),
        (["hidden[0]", "hidden[1]", "hidden[2]"], ["embed_tokens", "layers.0", "norm"]),
    ],
)  # fmt: skip
def test_words_in_a_whole_dump(tmp_path: Path, names: list[str], expected: list[str]) -> None:
    np.savez(tmp_path / "a.npz", **{name: np.arange(12.0) + n for n, name in enumerate(names)})
    capture = open_capture(tmp_path / "a.npz")
    found = dict(zip((r.name for r in capture.records), read_names(capture, NameRules()).readings,
                     strict=True))  # fmt: skip
    assert [found[name].module for name in names] == expected


# Dumps of outputs whose names say nothing, beside a capture with inputs.


def _run(fault: bool = False) -> dict[str, np.ndarray]:
    """A capture of three layers in execution order: what is handed on is an input, too."""
    random = np.random.default_rng(5)
    state, found = random.standard_normal((6, 16)), {}
    found["model.embed_tokens-output"] = state
    for layer in range(3):
        name = f"model.layers.{layer}"
        for part in ("self_attn", "mlp"):
            norm = state / np.sqrt((state**2).mean(-1, keepdims=True))
            found[f"{name}.{part}-input_0"] = norm
            inner = np.tanh(norm @ random.standard_normal((16, 24)))
            found[f"{name}.{part}.a_proj-output"] = inner
            out = inner @ random.standard_normal((24, 16))
            out = out * 1.2 if fault and (layer, part) == (1, "mlp") else out
            found[f"{name}.{part}.b_proj-output"] = out
            found[f"{name}.{part}-output"] = out
            state = state + out
        found[f"{name}-output"] = state
        found[f"model.layers.{layer + 1}-input_0"] = state
    found["lm_head-output"] = found["model-output"] = state @ random.standard_normal((16, 50))
    return {name: value.astype(np.float32) for name, value in found.items()}


def _save(folder: Path, values: dict[str, np.ndarray]) -> Path:
    folder.mkdir()
    for name, value in values.items():
        np.save(folder / f"{name}.npy", value)
    (folder / "tensor_names.txt").write_text("\n".join(values))
    return folder


def _outputs(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n: v for n, v in values.items() if n.endswith("-output") and n != "model-output"}


@pytest.mark.parametrize("fault", [False, True])
def test_outputs_alone_are_paired_with_outputs(tmp_path: Path, fault: bool) -> None:
    reference = _save(tmp_path / "ref", _run())
    outputs = _outputs(_run(fault))
    np.savez(tmp_path / "dump.npz", *outputs.values())
    comparison = open_comparison(str(reference), str(tmp_path / "dump.npz"))
    comparison.measure()
    truth = {f"arr_{n}": name for n, name in enumerate(outputs)}
    made = {
        row.candidate.name: row.reference.name for row in comparison.rows
        if row.reference is not None and row.candidate is not None
    }  # fmt: skip
    assert made == truth
    first = comparison.first_divergence()
    assert comparison.exit_status() == int(fault)
    assert (first is not None) == fault
    if first is not None:
        assert comparison.rows[first.index].canonical == "layers.1.mlp.b_proj"


def test_inputs_are_inputs_where_the_dump_has_them(tmp_path: Path) -> None:
    values = _run()
    reference = _save(tmp_path / "ref", values)
    np.savez(tmp_path / "dump.npz", *values.values())
    aligned = match_content(
        align(open_capture(reference), open_capture(tmp_path / "dump.npz"))
    )  # fmt: skip
    truth = {f"arr_{n}": name for n, name in enumerate(values)}
    for row in aligned.rows:
        if row.reference is not None and row.candidate is not None:
            right = values[truth[row.candidate.name]]
            assert np.array_equal(values[row.reference.name], right)
    paired = sum(row.kind == "pair" for row in aligned.rows)
    assert paired == len(values)


def test_hidden_states_do_not_end_early(tmp_path: Path) -> None:
    values = {name: value for name, value in _run().items() if "layers.3" not in name}
    reference = _save(tmp_path / "ref", {**values, "model.norm-output": values["lm_head-output"]})
    states = ["model.embed_tokens", "model.layers.0", "model.layers.1"]
    kept = [values[f"{name}-output"] for name in states] + [values["lm_head-output"]]
    np.savez(tmp_path / "dump.npz", **{f"hidden_states_{n}": v for n, v in enumerate(kept)})
    comparison = open_comparison(str(reference), str(tmp_path / "dump.npz"))
    comparison.measure()
    assert (comparison.exit_status(), comparison.counts.pairs) == (0, 4)


@pytest.mark.parametrize("same_length", [False, True])
def test_a_pass_for_warming_up_is_not_the_run(tmp_path: Path, same_length: bool) -> None:
    values = _outputs(_run())
    reference = _save(tmp_path / "ref", values)
    random = np.random.default_rng(3)
    (tmp_path / "dump").mkdir()
    length = 6 if same_length else 2
    for step, real in ((0, False), (1, True)):
        held = {
            name.removesuffix("-output"): value if real
            else random.standard_normal((length, *value.shape[1:])).astype(np.float32)
            for name, value in values.items()
        }  # fmt: skip
        np.savez(tmp_path / "dump" / f"pass_{step}.npz", **held)
    comparison = open_comparison(str(reference), str(tmp_path / "dump"))
    comparison.measure()
    assert (comparison.exit_status(), comparison.counts.pairs) == (0, len(values))
    assert any("step 1 of the other side" in note.text for note in comparison.aligned.notes)


@pytest.mark.parametrize("token", [-1, 0])
def test_the_last_token_of_everything(tmp_path: Path, token: int) -> None:
    """Of a dump with one token a record it is shown by its embedding that it is the last one."""
    values = _outputs(_run())
    reference = _save(tmp_path / "ref", {name: value[None] for name, value in values.items()})
    held = {name.removesuffix("-output"): value[token][None] for name, value in values.items()}
    np.savez(tmp_path / "dump.npz", **held)
    comparison = open_comparison(str(reference), str(tmp_path / "dump.npz"))
    comparison.measure()
    assert comparison.exit_status() == (0 if token == -1 else 1)
    if token == -1:
        assert comparison.counts.pairs == len(values)
