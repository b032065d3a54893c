"""What the list opens on, and what it says before any key is pressed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len
from textual import events
from textual.pilot import Pilot

from layertui.capture.demo.faults import FAULTS, NAMES, Fault, fault_named
from layertui.compare.aligned import Note
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.model import Failure
from layertui.tui.app import LayertuiApp
from layertui.tui.present.answer import on_two_lines
from layertui.tui.present.opening import is_judged, opening_row
from layertui.tui.widgets.answer_bar import AnswerBar
from layertui.tui.widgets.lines import Lines
from support.screens.demo_models import DemoModels, demo_models
from support.screens.tui_captures import (
    make_app,
    measured,
    olmo,
    settled,
    until,
    write_pair,
    write_safetensors,
)

KNOWN = 99_999  # a cause that is named explains at least so much, in millionths

WEIGHTS = "the weights would tell the cause: :model reference DIR"
# What 80x24 says of each fault of the demo, without a key: the layer, and the cause where one is
# known, else what is known of the error. Without a checkpoint nothing is known of weights.
DEMO = {
    "none": ("no divergence in 128 pairs", "L5 post_attention_layernorm"),
    "attention-scale": ("L3 self_attn", "scores times 1/16 (reference 1/sqrt(16))"),
    "norm-eps": ("L2 post_attention_layernorm", "eps 0.01 (reference 1.01e-5)"),
    "rope-theta": ("L0 self_attn", "base 500000 where the reference has 1e4"),
    "swapped-gate-up": ("L2 mlp", "introduced inside", "relative L2 0.77", WEIGHTS),
    "gelu-for-silu": ("L0 mlp", "introduced inside", "relative L2 0.2", WEIGHTS),
    "transposed-o-proj": (
        "L4 self_attn.o_proj", "introduced here", "looks like other-weights", WEIGHTS,
    ),
    "weight-scale": ("L3 mlp.down_proj", "the output is 1.01 x what it should be"),
    "kv-head-order": (
        "L1 self_attn", "key heads are repeated tiled where the reference repeats them interleaved",
    ),
    "nan-row": ("L4 mlp.down_proj", "introduced here", "NaN or Inf differ at 64 places"),
    "token-shift": ("embed_tokens", "every row is 1 later than it should be"),
    "dropped-bias": ("L2 self_attn.v_proj", "a different constant is added to each channel"),
    "int4-weight": ("L1 mlp.down_proj", "introduced here", "relative L2 0.087", WEIGHTS),
}  # fmt: skip
# The same with the weights that `layertui demo` keeps with the reference.
WITH_WEIGHTS = {
    "none": ("no divergence in 128 pairs",),
    "norm-eps": ("L2 post_attention_layernorm", "eps 0.01", "1e-5"),
    "swapped-gate-up": ("L2 mlp", "gate and up are swapped"),
    "gelu-for-silu": ("L0 mlp", "gelu where the reference has silu"),
    "transposed-o-proj": ("L4 self_attn.o_proj", "the weight is transposed"),
    "dropped-bias": ("L2 self_attn.v_proj", "the bias is not added"),
    "int4-weight": ("L1 mlp.down_proj", "weights in int4 in groups of 32"),
}  # fmt: skip
REAL = {
    "olmo2-f32": ("L0 self_attn.q_norm", "eps 1e-6 where the reference has 1e-5"),
    "llama_v3_badweights-f32": (
        "embed_tokens",
        "introduced here",
        "relative L2 13",
        "looks like other-weights",
    ),
    "llama-f32": ("no divergence in 48 pairs", "L1 input_layernorm"),
    "llama_v3-f32": ("no divergence in 49 pairs", "L1 input_layernorm"),
    "llama_steps-f32": ("no divergence in 144 pairs", "L1 input_layernorm"),
    "llama-bf16": ("no divergence in 48 pairs", "L1"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoModels]:
    with demo_models(tmp_path_factory.mktemp("demo")) as made:
        yield made


def answer(app: LayertuiApp) -> str:
    """The answer as it stands on the screen, cut where the screen cuts it."""
    bar = app.list_screen.query_one(AnswerBar)
    return " ".join(" ".join(bar.render_line(y).text for y in range(bar.size.height)).split())


async def _says(app: LayertuiApp, words: tuple[str, ...]) -> None:
    """Launch, no key, read."""
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        assert not app.session.touched  # keys pressed: none
        shown = answer(app)
        assert [each for each in words if each not in shown] == []
        assert WEIGHTS in words or WEIGHTS not in shown
        said = app.list_screen.prompt
        assert not said.message.startswith("logits:") or cell_len(said.message) <= 78  # not cut
        screen, comparison = app.list_screen, app.list_screen.comparison
        assert comparison is not None and screen.row is not None
        first = comparison.first_divergence()
        if first is not None:
            assert screen.row == first.index
            assert screen.pairs.screen_line >= min(4, screen.pairs.cursor)
            if first.causes and first.causes[0].explained * 1e6 >= KNOWN:
                assert "explains" in shown
        elif comparison.laws is not None:
            assert comparison.verdicts[screen.row].level in ("ok", "noise")
            assert screen.pairs.screen_line >= 4


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_layer_and_cause_of_every_demo_without_a_key(
    models: DemoModels, fault: Fault
) -> None:
    await _says(make_app(*models.captures(fault)), DEMO[fault.name])


@pytest.mark.parametrize("name", NAMES)
async def test_with_its_weights_the_cause_of_every_demo_is_named(
    models: DemoModels, name: str, tmp_path: Path
) -> None:
    from layertui.capture.demo.demo import keep_parameters

    bare, candidate = models.captures(fault_named(name))
    reference = shutil.copytree(bare, tmp_path / "reference")
    keep_parameters(models.made["float32"], str(reference))
    await _says(make_app(reference, candidate), WITH_WEIGHTS.get(name, DEMO[name]))


@pytest.mark.parametrize("pair", REAL)
async def test_layer_and_cause_of_every_real_pair_without_a_key(real: Path, pair: str) -> None:
    await _says(make_app(real / pair / "torch_dump", real / pair / "max_dump"), REAL[pair])


async def test_the_pane_is_filled(real: Path) -> None:
    app = olmo(real)
    async with app.run_test(size=(200, 50)) as pilot:
        await measured(pilot, app)
        shown = app.list_screen.query_one("#left .values", Lines).texts
        assert any(text.startswith("DIVERGED") for text in shown)
        assert any("q_norm" in text for text in shown)


@pytest.mark.parametrize("key", ["j", "m", "slash"])
async def test_after_any_key_the_cursor_is_the_users(
    key: str, small_pair: tuple[Path, Path]
) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.press(key)
        await until(pilot, lambda: app.list_screen.comparison is not None and not app.working)
        await pilot.pause()
        assert app.list_screen.row in (0, 1)
        assert app.list_screen.comparison is not None
        assert app.list_screen.comparison.first_index == 12


async def test_a_click_counts_as_a_key(small_pair: tuple[Path, Path]) -> None:
    done = open_comparison(*map(str, small_pair))
    assert done.measure(use_cache=False)
    app = Waiting(*small_pair)
    async with app.run_test(size=(120, 24)) as pilot:
        app.list_screen.listed(done.reference, done.candidate)
        down = events.MouseDown(None, 10, 5, 0, 0, 1, False, False, False)
        app.post_message(down)  # as the driver does
        await pilot.pause()
        app.list_screen.aligned(done)
        app.list_screen.ended()
        await settled(pilot)
        assert app.list_screen.row == 0


async def test_only_what_is_judged_moves_the_cursor(small_pair: tuple[Path, Path]) -> None:
    """Results come in any order: the first of those known is not the first of all."""
    done = open_comparison(*map(str, small_pair))
    assert done.measure(use_cache=False)
    fresh = Comparison(done.reference, done.candidate)
    app = Waiting(*small_pair)
    async with app.run_test(size=(120, 24)) as pilot:
        screen = app.list_screen
        screen.aligned(fresh)
        for results in ([31, 39], list(range(20))):
            for index in results:
                _take(fresh, done, index)
            screen.measured(results)
            await pilot.pause()
            assert screen.row == 0
            assert not is_judged(fresh)
        for index in range(20, 39):
            if index != 31:
                _take(fresh, done, index)
        fresh.settle()
        screen.measured(list(range(20, 39)))
        await settled(pilot)
        assert screen.row == 12
        assert screen.pairs.screen_line == screen.pairs.size.height // 3


async def test_what_was_said_stays_where_the_program_moves_the_cursor(
    small_pair: tuple[Path, Path],
) -> None:
    done = open_comparison(*map(str, small_pair))
    assert done.measure(use_cache=False)
    app = Waiting(*small_pair)
    async with app.run_test(size=(120, 24)) as pilot:
        screen = app.list_screen
        screen.aligned(done)
        app.say("a warning", warn=True)
        screen.ended()
        await settled(pilot)
        assert screen.row == 12
        assert screen.prompt.message == "a warning"
        await pilot.press("j")
        await settled(pilot)
        assert screen.prompt.message != "a warning"


async def test_another_first_divergence_takes_the_cursor_along(
    small_pair: tuple[Path, Path],
) -> None:
    """The laws may find a divergence before the one that was known."""
    done = open_comparison(*map(str, small_pair))
    assert done.measure(use_cache=False)
    app = Waiting(*small_pair)
    async with app.run_test(size=(120, 24)) as pilot:
        screen = app.list_screen
        screen.aligned(done)
        screen.ended()
        await pilot.pause()
        assert screen.row == 12
        done.take(5, Failure("the shapes differ", level="shape"))
        done.settle()
        screen.measured([5])
        await pilot.pause()
        assert screen.row == 5
        await pilot.press("j")
        done.take(4, Failure("the shapes differ", level="shape"))
        done.settle()
        screen.measured([4])
        await pilot.pause()
        assert screen.row == 6


async def test_an_input_that_diverges_first_is_revealed(models: DemoModels) -> None:
    app = make_app(*models.captures(fault_named("attention-scale")))
    async with app.run_test(size=(120, 40)) as pilot:
        await measured(pilot, app)
        assert app.list_screen.view.mode == "inputs"
        assert app.list_screen.comparison is not None
        assert app.list_screen.row == app.list_screen.comparison.first_index


async def test_a_healthy_run_opens_on_a_row_that_is_shown(real: Path) -> None:
    """Its worst row is an input here: outputs stay what is shown."""
    app = make_app(real / "llama-bf16" / "torch_dump", real / "llama-bf16" / "max_dump")
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        screen, comparison = app.list_screen, app.list_screen.comparison
        assert comparison is not None and screen.row is not None
        worst = opening_row(comparison)
        assert worst is not None and comparison.rows[worst].role == "input"
        assert screen.view.mode == "outputs"
        assert screen.row == next(row for row in screen.pairs.view if row >= worst)


def _plain(tmp_path: Path, off: dict[int, float]) -> Comparison:
    """Ten rows of which some are off, which no policy fails."""
    rng = np.random.default_rng(0)
    names = [f"model.layers.{i}.mlp-output" for i in range(10)]
    good = {name: rng.standard_normal(64).astype(np.float32) for name in names}
    bad = {name: x * np.float32(1 + off.get(i, 0.0)) for i, (name, x) in enumerate(good.items())}
    sides = [
        write_safetensors(
            tmp_path / side / "m.safetensors", {name: x.tolist() for name, x in values.items()}
        ).parent
        for side, values in (("ref", good), ("cand", bad))
    ]
    comparison = open_comparison(*map(str, sides))
    assert comparison.measure(use_cache=False)
    return comparison


def test_the_worst_row_of_a_run_without_laws_is_the_one_with_the_greatest_error(
    tmp_path: Path,
) -> None:
    comparison = _plain(tmp_path, {3: 1e-7, 6: 4e-7})
    assert comparison.first_index is None
    assert opening_row(comparison) == 6


def test_where_both_sides_are_equal_no_row_is_worse(tmp_path: Path) -> None:
    assert opening_row(_plain(tmp_path, {})) is None


def test_what_cannot_be_read_is_worse_than_any_error(tmp_path: Path) -> None:
    comparison = _plain(tmp_path, {3: 1e-7})
    comparison.take(7, Failure("cut short", "candidate"))
    comparison.settle()
    assert opening_row(comparison) == 7


def test_a_cause_goes_on_below_where_one_line_is_too_short() -> None:
    long, short = "one two three four, in all layers", "one two three four"
    assert on_two_lines((long, short), 12, 40, "…") == ("one two", "three four, in all layers")
    assert on_two_lines((long, short), 12, 12, "…") == ("one two", "three four")
    assert on_two_lines((long, short), 12, 6, "…") == ("one two", "three…")


async def test_the_answer_is_one_line_where_it_fits(models: DemoModels) -> None:
    app = make_app(*models.captures(fault_named("kv-head-order")))
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        bar = app.list_screen.query_one(AnswerBar)
        assert bar.size.height == 2
        await pilot.resize_terminal(160, 24)
        await until(pilot, lambda: bar.size.height == 1)
        assert "interleaved" in bar.render_line(0).text


async def test_notes_of_limits_are_not_lost(small_pair: tuple[Path, Path]) -> None:
    """Said when rows appear, and still there when the cursor went to the answer."""
    done = open_comparison(*map(str, small_pair))
    assert done.measure(use_cache=False)
    done.remarks = (Note("reference", "the thresholds file has no limits for 3 layers"),)
    app = Waiting(*small_pair)
    async with app.run_test(size=(120, 24)) as pilot:
        app.list_screen.aligned(done)
        app.list_screen.ended()
        await settled(pilot)
        assert app.list_screen.row == 12
        assert "has no limits for 3 layers" in app.list_screen.prompt.message


class Waiting(LayertuiApp):
    """Reads nothing by itself: the test hands it the news."""

    def __init__(self, reference: Path, candidate: Path) -> None:
        super().__init__(make_app(reference, candidate).session.request, fold="none")

    def begin(self) -> None:
        """Nothing."""


def _take(fresh: Comparison, done: Comparison, index: int) -> None:
    result = done.measurements[index]
    assert result is not None
    fresh.take(index, result)


async def test_another_case_opens_on_its_own_answer(tmp_path: Path) -> None:
    for side in ("ref", "cand"):
        (tmp_path / side).mkdir()
    for case, wrong in (("a", 12), ("b", 31)):
        for path in write_pair(tmp_path / case, 40, (wrong,)):
            path.rename(tmp_path / path.name / case)
    app = make_app(tmp_path / "ref", tmp_path / "cand")
    async with app.run_test(size=(120, 24)) as pilot:
        await _case(pilot, app, "case 1/2 a")
        assert app.list_screen.row == 12
        await pilot.press("j", "c")
        await _case(pilot, app, "case 2/2 b")
        assert app.list_screen.row == 31


async def _case(pilot: Pilot[None], app: LayertuiApp, words: str) -> None:
    counts = app.list_screen.query_one("#counts", Lines)
    await until(pilot, lambda: words in counts.texts[0] and not app.working)
    await settled(pilot)
