"""The template of attention: as `laws.attention_math` has it, for the sampled queries."""

from __future__ import annotations

import numpy as np

from ...capture.values import Array
from ..laws.attention.form import Form
from ..laws.attention.form import Material as Given
from ..laws.attention.law import material_of
from ..laws.attention.probabilities import Lines, heads_of
from ..laws.rotary.frequencies import relaid
from .material import Material, Subject
from .place import NothingToReproduceError

_ROTATED = '''\
def rotated(x, cos, sin):
    """Channels up to ROTATED of every head, turned by their position."""
    part = x[..., :ROTATED]
{partner}
    part = part * cos[:, None] + other * sin[:, None]
    return torch.cat([part, x[..., ROTATED:]], -1)


'''
_PARTNERS = {
    "half": "    other = torch.cat([-part[..., ROTATED // 2 :], part[..., : ROTATED // 2]], -1)",
    "interleaved": "    other = torch.stack([-part[..., 1::2], part[..., ::2]], -1).flatten(-2)",
}


def attention(subject: Subject) -> Material:
    """Queries of the sampled rows, all keys and values, masks or positions, tables, and the
    numbers of the form.
    """
    return _of_form(subject, ['return torch.einsum("hqk,khc->qhc", p, v).flatten(1)'], {})


def probabilities(subject: Subject) -> Material:
    """The same, with the lines (a head of a query each) that were looked at."""
    lines: tuple[Lines, Lines] = (
        subject.cases[0].more["lines"], subject.cases[1].more["lines"]
    )  # fmt: skip
    more = {
        "line_head": (lines[0].heads, lines[1].heads),
        "line_row": (lines[0].rows, lines[1].rows),
    }
    code = [
        'own = p[get("line_head"), get("line_row")]',
        f"found = torch.zeros(len(own), {lines[1].width}).double()",
        "# Keys of other sequences have a probability of 0.",
        'return found.index_add(1, get("place_k"), own)',
    ]
    return _of_form(subject, code, more)


def weighted_values(subject: Subject) -> Material:
    """Probabilities `[rows, heads, keys]` of the sampled rows, and all values."""
    values = subject.place.fit.values
    left, right = subject.cases
    heads, kv_heads = left.more["p"].shape[1], values["kv_heads"]
    order = heads_of(kv_heads, heads, values["tiled"])
    code = (
        "def expected(side):\n"
        f'    v = tensor(f"{{side}}_v").unflatten(-1, ({kv_heads}, -1))[:, {order}]\n'
        '    return torch.einsum("qhk,khc->qhc", tensor(f"{side}_p"), v).flatten(1)\n'
    )
    sided = {name: (left.more[name], right.more[name]) for name in ("p", "v")}
    return Material(code, {}, sided)


def _of_form(
    subject: Subject, ending: list[str], more: dict[str, tuple[Array, Array]]
) -> Material:  # fmt: skip
    values = subject.place.fit.values
    form: Form = values["form"]
    left, right = (material_of(case, values) for case in subject.cases)
    if left is None or right is None:
        raise NothingToReproduceError(f"{subject.place.row.label}: heads of other widths")
    if form.product_unit or form.softmax_unit:
        raise NothingToReproduceError(f"{subject.place.row.label}: rounded scores of the reference")
    sided = {
        name: (getattr(left, name), getattr(right, name))
        for name in ("q", "k", "v", "sequence_q", "sequence_k", "place_q", "place_k")
    }
    sided.update(more)
    masked = form.mask == "recorded" and left.bias is not None and right.bias is not None
    turned = bool(form.rotated) and form.style != "none" and left.angles is not None
    if masked:
        sided["mask"] = (_by_head(left), _by_head(right))
    if turned:
        for which in ("q", "k"):
            tables = (_tables(form, left, which), _tables(form, right, which))
            sided[f"cos_{which}"] = (tables[0][0], tables[1][0])
            sided[f"sin_{which}"] = (tables[0][1], tables[1][1])
    shared: dict[str, Array] = {}
    if form.slopes is not None:
        shared["slopes"] = form.slopes
    if form.sinks is not None:
        shared["sinks"] = form.sinks
    code = _constants(form, turned)
    code += _ROTATED.format(partner=_PARTNERS[form.style]) if turned else ""
    code += "def expected(side):\n" + "".join(
        f"    {line}\n" for line in [*_law(form, turned, masked), *ending]
    )
    return Material(code, shared, sided)


def _by_head(given: Given) -> Array:
    """`[1 or heads, rows, keys]`."""
    assert given.bias is not None
    return given.bias[None] if given.bias.ndim == 2 else np.moveaxis(given.bias, 1, 0)


def _tables(form: Form, given: Given, which: str) -> tuple[Array, Array]:
    """cos and sin in the layout and the direction of the form."""
    angles = given.angles
    assert angles is not None
    cos, sin = (angles.cos_q, angles.sin_q) if which == "q" else (angles.cos_k, angles.sin_k)
    laid = [relaid(table[:, : form.rotated], "half", form.style) for table in (cos, sin)]
    return laid[0], laid[1] * form.direction


def _constants(form: Form, turned: bool) -> str:
    heads = form.looks_at.tolist()
    lines = [
        f"HEADS, KEY_HEADS = {form.heads}, {form.kv_heads}",
        f"KEY_HEAD_OF = {heads}",
        f"SCALE = {float(form.scale)!r}",
    ]
    if turned:
        lines.append(f"ROTATED = {form.rotated}")
    if form.softcap:
        lines.append(f"CAP = {float(form.softcap)!r}")
    return "\n".join(lines) + "\n\n\n"


def _law(form: Form, turned: bool, masked: bool) -> list[str]:
    lines = [
        'get = lambda name: tensor(f"{side}_{name}")  # noqa: E731',
        'q, k = get("q").unflatten(-1, (HEADS, -1)), get("k").unflatten(-1, (KEY_HEADS, -1))',
        'v = get("v").unflatten(-1, (KEY_HEADS, -1))[:, KEY_HEAD_OF]',
    ]
    if turned:
        lines.append('q = rotated(q, get("cos_q"), get("sin_q"))')
        lines.append('k = rotated(k, get("cos_k"), get("sin_k"))')
    lines.append('scores = torch.einsum("qhc,khc->hqk", q, k[:, KEY_HEAD_OF]) * SCALE')
    if form.softcap:
        lines.append("scores = CAP * torch.tanh(scores / CAP)")
    lines += [
        'behind = get("place_q")[:, None] - get("place_k")[None, :]',
        'seen = get("sequence_q")[:, None] == get("sequence_k")[None, :]',
    ]
    if form.mask == "causal":
        lines.append(f"seen = seen & (behind >= {-form.shift})")
    if form.window is not None and form.mask != "none":
        lines.append(f"seen = seen & (behind < {form.window})")
    if form.slopes is not None:
        lines.append('scores = scores - tensor("slopes")[:, None, None] * behind')
    if masked:
        lines += [
            'mask = get("mask")',
            "seen = seen & torch.isfinite(mask)",
            "scores = scores + torch.where(torch.isfinite(mask), mask, 0.0)",
        ]
    lines += [
        "nowhere = ~seen.any(-1, keepdim=True)  # sees everything alike, as all scores are lowest",
        "scores = torch.where(seen, scores, torch.where(nowhere, 0.0, -torch.inf))",
    ]
    if form.sinks is not None:
        lines += [
            'sink = tensor("sinks")[:, None, None].expand(-1, scores.shape[1], 1)',
            "p = torch.cat([scores, sink], -1).softmax(-1)[..., :-1]",
        ]
    else:
        lines.append("p = scores.softmax(-1)")
    return lines
