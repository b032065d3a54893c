"""Recipes: text form, shapes, inverses, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable

import einops
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.recipes.errors import RecipeError
from layertui.compare.recipes.parse import parse_recipe
from layertui.compare.recipes.rearrange import Rearrange
from layertui.compare.recipes.recipe import Recipe, view_shapes, views
from layertui.compare.recipes.steps import (
    Concat,
    Flip,
    IndexSelect,
    Permute,
    Reshape,
    Roll,
    Slice,
    Squeeze,
    Step,
    Transpose,
    Unsqueeze,
)
from support.drawn.recipes import (
    PRINTED,
    SHAPES,
    STEPS,
    numbered,
)

pytestmark = pytest.mark.filterwarnings("error")


@given(st.lists(PRINTED, max_size=4))
@settings(max_examples=150, deadline=None)
def test_what_is_printed_is_parsed_to_the_same(steps: list[Step]) -> None:
    recipe = Recipe(tuple(steps))
    again = parse_recipe(str(recipe))
    assert again == recipe
    assert str(again) == str(recipe)


@pytest.mark.parametrize(
    "name",
    ["a|b", 'say "hi"', "back\\", "\\", "a\nb", "nul\0", "\udcff", "😀", "'", '\\"|', "\u2028"],
)
def test_a_concat_keeps_any_name(name: str) -> None:
    recipe = Recipe((Concat(-1, (name, "other")), Squeeze(0)))
    assert parse_recipe(str(recipe)) == recipe


@given(STEPS, SHAPES)
@settings(max_examples=400, deadline=None)
def test_shape_is_that_of_the_result_and_the_inverse_undoes(
    step: Step, shape: tuple[int, ...]
) -> None:
    array = numbered(shape)
    recipe = Recipe((step,))
    try:
        told = recipe.shape(shape)
    except RecipeError as error:
        assert str(error)
        with pytest.raises(RecipeError):
            recipe.apply(array)
        return
    made = recipe.apply(array)
    assert made.shape == told
    try:
        undo = recipe.inverse(shape)
    except RecipeError:
        assert not isinstance(step, Squeeze | Unsqueeze | Reshape | Transpose | Permute | Flip)
        return
    assert parse_recipe(str(undo)) == undo
    np.testing.assert_array_equal(undo.apply(made), array)
    assert undo.apply(made).shape == shape


WHOLE_SLICES = st.lists(
    st.sampled_from([(None, None, None), (None, None, -1), (0, None, 1)]), min_size=1, max_size=3
)


@given(SHAPES.filter(lambda shape: len(shape) > 0), st.data())
@settings(max_examples=200, deadline=None)
def test_every_step_that_keeps_all_elements_has_an_inverse(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    order = tuple(data.draw(st.permutations(range(shape[axis]))))
    axes = tuple(data.draw(st.permutations(range(len(shape)))))
    names = [f"a{number}" for number in range(len(shape))]
    turned = " ".join(names[at] for at in axes)
    steps: list[Step] = [
        Roll(data.draw(st.integers(-9, 9)), axis), Flip(axis), IndexSelect(axis, order),
        Permute(axes), Transpose(axis, 0), Unsqueeze(axis), Reshape((*shape, 1)),
        Slice(tuple(data.draw(WHOLE_SLICES)[: len(shape)])),
    ]  # fmt: skip
    if 0 not in shape:
        steps.append(Rearrange(f"{' '.join(names)} -> ({turned}) 1"))
    array = numbered(shape)
    for step in steps:
        undo = step.inverse(shape)
        back = undo.apply(step.apply(array))
        assert back.shape == shape
        np.testing.assert_array_equal(back, array)
        assert undo.shape(step.shape(shape)) == shape


@given(st.lists(STEPS, min_size=2, max_size=6), SHAPES)
@settings(max_examples=300, deadline=None)
def test_a_chain_is_undone_from_its_end(steps: list[Step], shape: tuple[int, ...]) -> None:
    fitting: list[Step] = []
    for step in steps:
        try:
            Recipe((*fitting, step)).inverse(shape)
        except RecipeError:
            continue
        fitting.append(step)
    recipe, array = Recipe(tuple(fitting)), numbered(shape)
    undo = recipe.inverse(shape)
    back = undo.apply(recipe.apply(array))
    assert back.shape == shape and len(undo.steps) == len(fitting)
    np.testing.assert_array_equal(back, array)
    assert parse_recipe(str(undo)) == undo


@given(st.lists(STEPS, min_size=2, max_size=8), SHAPES)
@settings(max_examples=200, deadline=None)
def test_a_chain_has_the_shape_that_it_says(steps: list[Step], shape: tuple[int, ...]) -> None:
    fitting: list[Step] = []
    for step in steps:
        try:
            Recipe((*fitting, step)).shape(shape)
        except RecipeError:
            continue
        fitting.append(step)
    recipe = Recipe(tuple(fitting))
    assert recipe.apply(numbered(shape)).shape == recipe.shape(shape)


SYNTAX = st.text(
    st.sampled_from("[]()|:,.-+*\"'\\ \n0123456789abx_=#{}@") | st.characters(codec=None),
    max_size=40,
)
CALLS = st.builds(
    "{}({})".format,
    st.sampled_from(
        [
            "squeeze",
            "unsqueeze",
            "reshape",
            "transpose",
            "permute",
            "flip",
            "roll",
            "shift",
            "select",
            "index_select",
            "concat",
            "cast",
            "rearrange",
        ]
    ),
    st.lists(
        st.sampled_from(
            ["0", "-1", "9" * 400, "1.5", "True", "None", "[1, 2]", "{1}", "{[]: 1}", "x", "*x",
             "**x", "h=2", "h=-1", "h=0", '"a b -> b a"', '"a (b -> a"', '"a a -> a a"', "...",
             '"\\d"', "1or 2", "2**62", "b'a'", "a.b", "a.b.c", "[]", "()", "lambda: 0", "0x1_0",
             '"axis -> axis"', '"if b -> b if"', '"_a -> _a"', '"é -> é"', '"float64"', "1j"]
        ),
        max_size=3,
    ).map(", ".join),
)  # fmt: skip


@given(SYNTAX | CALLS | st.builds("[{}]".format, SYNTAX), SHAPES)
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_recipe_or_an_error_in_words(text: str, shape: tuple[int, ...]) -> None:
    try:
        recipe = parse_recipe(text)
        made = recipe.layout.apply(numbered(shape)).shape
    except RecipeError as error:
        assert str(error).strip()
        return
    assert parse_recipe(str(recipe)) == recipe
    assert recipe.shape(shape) == made


@pytest.mark.parametrize(
    "text",
    ["squeeze", "squeeze(", "squeeze()", "squeeze(0, 1)", "squeeze(dim=0)", "nothing(1)", "1 + 1",
     "[]", "[()]", "[::0]", "[True]", "[None]", "[...]", "[0][1]", "reshape[0]", "x[0]", "|",
     "squeeze(0) |", "| squeeze(0)", "squeeze(0) || flip(0)", "cast(nope)", "cast()", "concat(0)",
     "concat(0, 1)", 'rearrange("a b")', 'rearrange("a -> b")', 'rearrange("a a -> a a")',
     'rearrange("a -> a", b=2)', 'rearrange("a b -> (a b)", a=-2)', "index_select(0, 1)",
     'rearrange("... a -> a ...")', "__import__('os').getcwd()", "squeeze(__import__('os'))",
     "squeeze(\0)", "[" * 3000, "-" * 9000 + "1", "(" * 150, "a." * 4000, "1+" * 4000 + "1",
     "x" * 10_001],
)  # fmt: skip
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        parse_recipe(text)


def test_no_warning_of_the_parser_reaches_the_terminal() -> None:
    code = (
        "from layertui.compare.recipes.errors import RecipeError\n"
        "from layertui.compare.recipes.parse import parse_recipe\n"
        "for text in ('concat(0, \"\\\\d\")', 'squeeze(1or 2)', '[0x1for x in 2]'):\n"
        "    try: parse_recipe(text)\n"
        "    except RecipeError: pass\n"
    )
    done = subprocess.run([sys.executable, "-Wdefault", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_parsing_leaves_the_warning_filters_alone() -> None:
    before = list(warnings.filters)
    parse_recipe("unsqueeze(0) | flip(-1) | roll(3, 1)")
    assert list(warnings.filters) == before


def test_text_forms_a_user_types() -> None:
    assert parse_recipe("") == parse_recipe("  ") == Recipe()
    assert parse_recipe("reshape([2, 3])") == parse_recipe("reshape(2,3)")
    assert parse_recipe("[:,0:64]|cast(torch.bfloat16)").casts == ("bfloat16",)
    assert parse_recipe("[..., 0]".replace("...", ":")) == Recipe((Slice(((None,) * 3, 0)),))
    assert str(parse_recipe("transpose( 0,1 )|  [ 1 : ]")) == "transpose(0, 1) | [1:]"


def test_shapes_that_no_array_can_have_are_refused() -> None:
    many = "unsqueeze(0) | " * 70 + "squeeze(0)"
    for text, shape in (
        (many, (2,)),
        ("reshape(0, 4611686018427387904, 4611686018427387904)", (0,)),
        (f"reshape({', '.join(['1'] * 70)})", (1,)),
    ):
        recipe = parse_recipe(text)
        with pytest.raises(RecipeError):
            recipe.shape(shape)
        with pytest.raises(RecipeError):
            recipe.apply(np.zeros(shape))


@pytest.mark.parametrize(
    ("pattern", "sizes", "shape"),
    [
        ("t (h d) -> h t d", {"h": 4}, (5, 12)),
        ("b h t d -> (b t) (h d)", {}, (2, 3, 4, 5)),
        ("(a b c) -> c a b", {"a": 2, "c": 3}, (24,)),
        ("1 t d -> t d", {}, (1, 4, 3)),
        ("t d -> d 1 t", {}, (4, 3)),
        ("a () b -> (b a)", {}, (2, 1, 3)),
        ("a b -> b a", {}, (0, 3)),
    ],
)
def test_rearrange_is_that_of_einops(
    pattern: str, sizes: dict[str, int], shape: tuple[int, ...]
) -> None:
    array = numbered(shape)
    made = Rearrange(pattern, tuple(sizes.items())).apply(array)
    np.testing.assert_array_equal(made, einops.rearrange(array, pattern, **sizes))


STEP_AGAINST_NUMPY: list[tuple[str, Callable[[np.ndarray], np.ndarray]]] = [
    ("unsqueeze(1)", lambda a: a[:, None]),
    ("reshape(4, -1)", lambda a: a.reshape(4, 6)),
    ("transpose(0, -1)", lambda a: a.swapaxes(0, 2)),
    ("permute(2, 0, 1)", lambda a: a.transpose(2, 0, 1)),
    ("flip(1)", lambda a: np.flip(a, 1)),
    ("roll(1, 0)", lambda a: np.roll(a, 1, 0)),
    ("select(1, -1)", lambda a: a[:, -1]),
    ("[1, ::-1, 0:2]", lambda a: a[1, ::-1, 0:2]),
    ("index_select(2, [3, 0, 0])", lambda a: a[:, :, [3, 0, 0]]),
    ("index_select(0, [])", lambda a: a[:0]),
    ("shift(1, 1)", lambda a: a[:, 1:]),
    ("shift(-1, 1)", lambda a: a[:, :-1]),
]


@pytest.mark.parametrize(("text", "wanted"), STEP_AGAINST_NUMPY)
def test_steps_do_what_numpy_does(text: str, wanted: Callable[[np.ndarray], np.ndarray]) -> None:
    array = numbered((2, 3, 4))
    np.testing.assert_array_equal(parse_recipe(text).apply(array), wanted(array))


def test_layout_and_casts_are_kept_apart() -> None:
    recipe = parse_recipe("transpose(0, 1) | cast(bfloat16) | [0:2] | cast(float32)")
    assert str(recipe.layout) == "transpose(0, 1) | [0:2]"
    assert recipe.casts == ("bfloat16", "float32")
    values = np.random.default_rng(0).standard_normal((3, 4), dtype=np.float32)
    late = parse_recipe("cast(bfloat16)").apply(recipe.layout.apply(values))
    np.testing.assert_array_equal(recipe.apply(values), late)


def test_concat_joins_what_the_resolver_gives() -> None:
    others = {"k": numbered((2, 2)), "flat": numbered((4,))}
    recipe = parse_recipe('concat(-1, "k", "k")')
    assert recipe.apply(numbered((2, 3)), others.__getitem__).shape == (2, 7)
    for text in ('concat(0, "flat")', 'concat(5, "k")'):
        with pytest.raises(RecipeError):
            parse_recipe(text).apply(numbered((2, 3)), others.__getitem__)
    with pytest.raises(RecipeError, match="not available here"):
        recipe.apply(numbered((2, 3)))
    with pytest.raises(RecipeError):
        recipe.inverse((2, 3))


@pytest.mark.parametrize("text", ["select(0, 0)", "shift(1, 0)", "[0:1]", "cast(bfloat16)"])
def test_steps_that_lose_something_have_no_inverse(text: str) -> None:
    with pytest.raises(RecipeError, match="no inverse"):
        parse_recipe(text).inverse((3, 3))


@given(st.integers(-4, 4), st.integers(-4, 4), st.integers(0, 1))
@settings(max_examples=60, deadline=None)
def test_a_shift_compares_each_element_with_its_neighbour(left: int, right: int, dim: int) -> None:
    a, b = numbered((10, 11)), numbered((10, 11))
    x, y = views(
        parse_recipe(f"shift({left}, {dim})"), parse_recipe(f"shift({right}, {dim})"), a, b
    )
    assert x.shape == y.shape
    step = (11, 1)[dim]
    assert (x - y == (left - right) * step).all()
    lost = 10 + dim - x.shape[dim]
    assert lost == abs(left) + abs(right) if left * right > 0 else lost >= abs(left - right)


@given(st.lists(STEPS, max_size=3), st.lists(STEPS, max_size=3), SHAPES, SHAPES)
@settings(max_examples=300, deadline=None)
def test_the_shapes_of_views_are_known_without_data(
    left: list[Step], right: list[Step], ref: tuple[int, ...], cand: tuple[int, ...]
) -> None:
    recipes = Recipe(tuple(left)), Recipe(tuple(right))
    try:
        told = view_shapes(*recipes, ref, cand)
    except RecipeError:
        with pytest.raises(RecipeError):
            views(*recipes, numbered(ref), numbered(cand))
        return
    x, y = views(*recipes, numbered(ref), numbered(cand))
    assert told == (x.shape, y.shape)


def test_a_shift_behind_a_transpose_cuts_the_axis_of_the_view() -> None:
    reference, candidate = parse_recipe("transpose(0, 1) | shift(1, 0)"), parse_recipe("")
    x, y = views(reference, candidate, numbered((3, 5)), numbered((5, 3)))
    assert x.shape == y.shape == (4, 3)
    np.testing.assert_array_equal(x, numbered((3, 5)).T[1:])
    np.testing.assert_array_equal(y, numbered((5, 3))[:-1])


def test_a_shift_before_a_layout_step_is_refused() -> None:
    first = parse_recipe("shift(1, 0) | transpose(0, 1)")
    with pytest.raises(RecipeError, match="after all other"):
        views(first, Recipe(), numbered((5, 3)), numbered((3, 5)))
    x, y = views(parse_recipe("shift(1, 0) | cast(float32)"), Recipe(), numbered((5, 3)),
                 numbered((5, 3)))  # fmt: skip
    assert x.shape == y.shape == (4, 3)
    with pytest.raises(RecipeError):
        views(parse_recipe("shift(5, 0)"), Recipe(), numbered((5, 3)), numbered((5, 3)))
