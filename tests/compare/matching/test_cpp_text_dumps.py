"""A C++ engine's text dumps of a qwen3 against a torch capture and against Python's dumps."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from layertui.capture import record
from layertui.cli.main import status_of
from layertui.compare.comparison import Comparison, open_comparison

HERE = Path(__file__).parent
LAYERS, HEADS, GROUPS, HEAD_SIZE = 2, 4, 2, 8
# As many tokens as heads in the third, as groups in the fourth: sizes do not tell their axes apart.
INPUTS = {"first": (3, 14, 15, 9, 2), "second": (6, 5, 35, 8, 9, 7, 11), "third": (27, 18, 28, 41),
          "fourth": (12, 40)}  # fmt: skip
ROTATED, INTERMEDIATE = "layer_1_attn_q_rope", "layer_1_mlp_intermediate"
# Where the first divergence is.
FAULTS = {
    ROTATED: "layers.1.self_attn.q_rope-output",
    INTERMEDIATE: "layers.1.mlp.down_proj-input_0",
}
BEHIND_ROTATED = "layers.1.self_attn.o_proj-output"  # the next where rotations are not recorded

# The eighteen tensors of a layer and of the ends, in the order of a run, and the modules of torch.
OF_LAYER = {
    "input_hidden_states": "-input_0",
    "attn_norm_output": ".input_layernorm-output",
    "attn_q_proj_raw": ".self_attn.q_proj-output",
    "attn_k_proj_raw": ".self_attn.k_proj-output",
    "attn_v_proj_raw": ".self_attn.v_proj-output",
    "attn_q_normed": ".self_attn.q_norm-output",
    "attn_k_normed": ".self_attn.k_norm-output",
    "attn_q_rope": ".self_attn/aten.add.Tensor-output",
    "attn_k_rope": ".self_attn/aten.add.Tensor(2)-output",
    "attn_o_proj": ".self_attn.o_proj-output",
    "attn_residual_output": ".post_attention_layernorm-input_0",
    "mlp_norm_output": ".post_attention_layernorm-output",
    "mlp_gate_proj": ".mlp.gate_proj-output",
    "mlp_up_proj": ".mlp.up_proj-output",
    "mlp_intermediate": ".mlp.down_proj-input_0",
    "layer_output": "-output",
}
EXPECTED = {
    "input_embeddings": "model.embed_tokens-output",
    **{f"layer_{n}_{name}": f"model.layers.{n}{record}"
       for n in range(LAYERS) for name, record in OF_LAYER.items()},
    "final_norm_output": "model.norm-output",
}  # fmt: skip


def tiny_qwen3() -> Any:
    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=GROUPS, head_dim=HEAD_SIZE,
        attn_implementation="eager", initializer_range=0.2,
    )  # fmt: skip
    model = transformers.Qwen3ForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.add_(0.2 * torch.randn_like(weight))
    return model


def export(model: Any, folder: Path) -> None:
    """The weights one after another as float32, an index of them, the sizes of the model."""
    folder.mkdir()
    config = model.config
    names = ("hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim",
             "intermediate_size", "num_hidden_layers", "rms_norm_eps")  # fmt: skip
    lines = [f".{name} {getattr(config, name)}" for name in names]
    lines.append(f".rope_theta {config.rope_parameters['rope_theta']}")
    offset = 0
    with (folder / "weights.bin").open("wb") as file:
        for name, weight in model.state_dict().items():
            file.write(weight.numpy().tobytes())
            lines.append(" ".join(map(str, (name, offset, *weight.shape))))
            offset += weight.numel()
    (folder / "index.txt").write_text("\n".join(lines) + "\n")


def write_text(path: Path, values: torch.Tensor) -> None:
    shape = "x".join(map(str, values.shape))
    lines = [f"# Shape: {shape}", *(f"{value:.9g}" for value in values.flatten().tolist())]
    path.write_text("\n".join(lines) + "\n")


@contextmanager
def dumping(model: Any, folder: Path) -> Iterator[None]:
    """The eighteen tensors of each layer as `py_NAME.txt`, by hooks as such a script has them."""
    modeling = transformers.models.qwen3.modeling_qwen3
    inner = model.model
    handles = []
    current = [0]

    def keep(name: str, values: torch.Tensor) -> None:
        write_text(folder / f"py_{name}.txt", values.detach())

    def output(module: torch.nn.Module, name: str) -> None:
        handles.append(module.register_forward_hook(lambda m, args, out: keep(
            name, out[0] if isinstance(out, tuple) else out)))  # fmt: skip

    def given(module: torch.nn.Module, name: str) -> None:
        handles.append(module.register_forward_pre_hook(lambda m, args: keep(name, args[0])))

    output(inner.embed_tokens, "input_embeddings")
    output(inner.norm, "final_norm_output")
    for number, layer in enumerate(inner.layers):
        at, attention, mlp = f"layer_{number}_", layer.self_attn, layer.mlp

        def begin(module: Any, args: Any, number: int = number) -> None:
            current[0] = number

        handles.append(layer.register_forward_pre_hook(begin))
        given(layer, f"{at}input_hidden_states")
        output(layer.input_layernorm, f"{at}attn_norm_output")
        for letter in "qkv":
            output(getattr(attention, f"{letter}_proj"), f"{at}attn_{letter}_proj_raw")
        output(attention.q_norm, f"{at}attn_q_normed")
        output(attention.k_norm, f"{at}attn_k_normed")
        output(attention.o_proj, f"{at}attn_o_proj")
        given(layer.post_attention_layernorm, f"{at}attn_residual_output")
        output(layer.post_attention_layernorm, f"{at}mlp_norm_output")
        output(mlp.gate_proj, f"{at}mlp_gate_proj")
        output(mlp.up_proj, f"{at}mlp_up_proj")
        given(mlp.down_proj, f"{at}mlp_intermediate")
        output(layer, f"{at}layer_output")
    rotary = modeling.apply_rotary_pos_emb

    def rotate(*args: Any, **kwargs: Any) -> Any:
        rotated = rotary(*args, **kwargs)
        for letter, values in zip("qk", rotated, strict=True):
            keep(f"layer_{current[0]}_attn_{letter}_rope", values)
        return rotated

    modeling.apply_rotary_pos_emb = rotate
    try:
        yield
    finally:
        modeling.apply_rotary_pos_emb = rotary
        for handle in handles:
            handle.remove()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with a folder an input: `torch`, `ops`, `python`, and of the engine `right` and a
    folder a fault.
    """
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed")
    root = tmp_path_factory.mktemp("text_dumps")
    make(compiler, root)
    return root


def make(compiler: str, root: Path) -> None:
    built = root / "engine"
    command = [compiler, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror",
               str(HERE / "text_engine.cpp"), "-o", str(built)]  # fmt: skip
    subprocess.run(command, check=True)
    model = tiny_qwen3()
    export(model, root / "model")
    for case, tokens in INPUTS.items():
        ids = torch.tensor([tokens])
        (root / f"{case}.txt").write_text(" ".join(map(str, tokens)))
        with torch.no_grad():
            with record(model, root / "torch" / case):
                model(ids, use_cache=False)
            with record(model, root / "ops" / case, level="op"):
                model(ids, use_cache=False)
            (root / "python" / case).mkdir(parents=True)
            with dumping(model, root / "python" / case):
                model(ids, use_cache=False)
        for fault in ("", *FAULTS):
            run(root, case, root / (fault or "right") / case, fault)


def run(root: Path, case: str, folder: Path, fault: str = "", attention: bool = False) -> None:
    """The engine on the input `case`; its dumps go to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [root / "engine", root / "model", root / f"{case}.txt", folder]
    words = [fault, "attention"] if attention else [fault]
    subprocess.run([*map(str, command), *words], check=True)


def compared(reference: Path, candidate: Path) -> Comparison:
    comparison = open_comparison(reference, candidate)
    assert comparison.measure(use_cache=False, threads=1)
    return comparison


def pairs(comparison: Comparison) -> dict[str, str]:
    """The names of the candidate and the reference in every pair."""
    return {row.candidate.name: row.reference.name for row in comparison.rows
            if row.reference and row.candidate}  # fmt: skip


def first_label(comparison: Comparison) -> str | None:
    first = comparison.first_divergence()
    return None if first is None else comparison.rows[first.index].label


@pytest.mark.parametrize("case", INPUTS)
@pytest.mark.parametrize("reference", ["torch", "ops"])
def test_a_right_engine_agrees_with_torch(reference: str, case: str, made: Path) -> None:
    comparison = compared(made / reference / case, made / "right" / case)
    expected = {name: record for name, record in EXPECTED.items()
                if reference == "ops" or not name.endswith("_rope")}  # fmt: skip
    assert pairs(comparison) == expected
    gaps = {row.candidate.name for row in comparison.rows if row.candidate and not row.reference}
    assert gaps == set(EXPECTED) - set(expected)
    assert comparison.exit_status() == 0 and comparison.first_divergence() is None


@pytest.mark.parametrize("case", INPUTS)
def test_a_right_engine_agrees_with_dumps_of_python(case: str, made: Path) -> None:
    comparison = compared(made / "python" / case, made / "right" / case)
    found = [(row.reference.name, row.candidate.name) for row in comparison.rows
             if row.reference and row.candidate]  # fmt: skip
    assert found == [(name, name) for name in EXPECTED]
    assert len(comparison.rows) == len(EXPECTED)
    assert comparison.exit_status() == 0 and comparison.first_divergence() is None


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("reference", ["torch", "ops", "python"])
def test_a_fault_is_named(reference: str, fault: str, made: Path) -> None:
    for case in INPUTS:
        comparison = compared(made / reference / case, made / fault / case)
        hidden = reference == "torch" and fault == ROTATED
        assert first_label(comparison) == (BEHIND_ROTATED if hidden else FAULTS[fault])
        assert comparison.exit_status() == 1


@pytest.mark.parametrize("fault", EXPECTED)
def test_a_fault_in_any_tensor_is_the_first(fault: str, made: Path, tmp_path: Path) -> None:
    run(made, "second", tmp_path, fault)
    for reference in ("ops", "python"):
        comparison = compared(made / reference / "second", tmp_path)
        first = comparison.first_divergence()
        assert first is not None
        row = comparison.rows[first.index]
        assert row.candidate is not None and row.candidate.name == fault, reference


@pytest.mark.parametrize("fault", ["", *FAULTS])
def test_folders_with_a_folder_an_input_are_cases(
    fault: str, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for reference in ("ops", "python"):
        words = ["compare", str(made / reference), str(made / (fault or "right"))]
        assert status_of(words) == (1 if fault else 0)
        out = capsys.readouterr().out
        for case in INPUTS:
            assert f"case {case}: {'differs' if fault else 'agrees'}\n" in out
        assert out.count(FAULTS.get(fault, "none: no divergence")) >= len(INPUTS)


@pytest.mark.parametrize("fault", ["", *FAULTS])
def test_both_sides_in_one_folder_are_one_argument(
    fault: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made / "python", tmp_path / "both")
    shutil.copytree(made / (fault or "right"), tmp_path / "both", dirs_exist_ok=True)
    for place, count in ((tmp_path / "both/first", 1), (tmp_path / "both", len(INPUTS))):
        assert status_of([str(place), "--no-tui"]) == (1 if fault else 0)
        out = capsys.readouterr().out
        assert out.count("FIRST DIVERGENCE") == count
        assert out.count(FAULTS.get(fault, "none: no divergence")) >= count


def test_an_engine_with_heads_on_the_first_axis(made: Path, tmp_path: Path) -> None:
    """Rotated queries and keys as torch has them, `[batch, heads, tokens, size]`."""
    shutil.copytree(made / ROTATED / "second", tmp_path, dirs_exist_ok=True)
    for path in tmp_path.glob("*_rope.txt"):
        lines = path.read_text().splitlines()
        shape = [int(size) for size in lines[0].rpartition(" ")[2].split("x")]
        values = torch.tensor([float(line) for line in lines[1:]]).reshape(shape)
        write_text(path, values.transpose(1, 2))
    for reference in ("ops", "python"):
        comparison = compared(made / reference / "second", tmp_path)
        assert pairs(comparison).keys() == EXPECTED.keys()
        assert first_label(comparison) == FAULTS[ROTATED]


@pytest.mark.parametrize(
    ("fault", "first"),
    [
        ("", None),
        ("layer_1_attn_scores", "layers.1.self_attn.scores-output"),
        ("layer_1_attn_softmax", "layers.1.self_attn.softmax-output"),
        ("layer_1_attn_sdpa_output", "layers.1.self_attn.o_proj-input_0"),
    ],
)
def test_scores_weights_and_result_of_attention(
    fault: str, first: str | None, made: Path, tmp_path: Path
) -> None:
    """Blocked scores are -Inf here, and the least float32 in torch."""
    run(made, "second", tmp_path, fault, attention=True)
    comparison = compared(made / "ops/second", tmp_path)
    attention = {
        f"layer_{n}_attn_{name}": f"model.layers.{n}.self_attn{record}-{slot}"
        for n in range(LAYERS)
        for name, record, slot in (
            ("scores", "/aten.add.Tensor(3)", "output"),
            ("softmax", "/aten._softmax.default", "output"),
            ("sdpa_output", ".o_proj", "input_0"),
        )
    }
    assert pairs(comparison) == EXPECTED | attention
    assert comparison.exit_status() == (1 if fault else 0)
    assert first_label(comparison) == first


def test_scores_with_another_mask_differ(made: Path, tmp_path: Path) -> None:
    run(made, "second", tmp_path, attention=True)
    path = tmp_path / "cpp_layer_1_attn_scores.txt"
    lines = path.read_text().splitlines()
    lines[lines.index("-inf")] = "0.25"
    path.write_text("\n".join(lines) + "\n")
    comparison = compared(made / "ops/second", tmp_path)
    assert first_label(comparison) == "layers.1.self_attn.scores-output"
    assert comparison.exit_status() == 1


def test_a_dump_that_is_cut_short_is_never_green(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "right/second", tmp_path, dirs_exist_ok=True)
    path = tmp_path / "cpp_layer_1_attn_q_rope.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-3]) + "\n")
    for reference in ("ops", "python"):
        comparison = compared(made / reference / "second", tmp_path)
        assert comparison.exit_status() != 0
