"""The template of attention: as `laws.attention_math` has it, for the sampled queries."""

from __future__ import annotations

import numpy as np

from ...capture.values import Array
from ..laws.attention.form import Form
from ..laws.attention.form import Material as Given
from ..laws.attention.law import material_of
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
        f"    {line}\n" for line in _law(form, turned, masked)
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
    heads = [form.kv_head(head) for head in range(form.heads)]
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
    lines.append('return torch.einsum("hqk,khc->qhc", p, v).flatten(1)')
    return lines
