"""One template for each law: the law in torch, and the arrays that it reads.

The formulas are those of `laws`, said once more in torch, so that the test stands alone; the tests
of this package hold both against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

import numpy as np

from ...capture.values import Array
from ..laws.embedding.sum import Entry
from ..laws.embedding.tables import Table
from ..laws.feed_forward.gated import Form, operands
from ..laws.feed_forward.gated_layer import Layer
from ..laws.law import Case
from ..laws.linear.products import loaded_unit
from ..laws.logits import Last
from ..laws.norm.form import Norm
from ..laws.numerics.rounding import on_grid
from ..laws.residual.law import Sum
from ..laws.rotary.tables import Turn
from ..weights.parameters import Weight
from .attention import attention, probabilities, weighted_values
from .material import MOST_BYTES, Material, Subject
from .mixture import routing, shared_experts
from .place import NothingToReproduceError
from .vision import convolution, layer_scale, pooling

# Activation functions by their words in `laws.functions`.
FUNCTIONS: dict[str, str] = {
    "silu": "torch.nn.functional.silu(x)",
    "gelu": "torch.nn.functional.gelu(x)",
    "gelu (tanh form)": 'torch.nn.functional.gelu(x, approximate="tanh")',
    "quick gelu": "x * torch.sigmoid(1.702 * x)",
    "relu": "torch.relu(x)",
    "relu squared": "torch.relu(x).square()",
    "relu6": "x.clamp(0.0, 6.0)",
    "leaky relu": "torch.nn.functional.leaky_relu(x, 0.01)",
    "elu": "torch.nn.functional.elu(x)",
    "mish": "torch.nn.functional.mish(x)",
    "sigmoid": "torch.sigmoid(x)",
    "tanh": "torch.tanh(x)",
    "no function": "x",
}
_FUNCTION = """\
def function(x):
    return {code}


"""
_EXPECTED = """\
def expected(side):
"""
_ROUNDED = '''\
def weight_of(side, name):
    """As a loader has it that rounds to the unit roundoff of its dtype (0: as it is stored)."""
    weight, unit = tensor(name), UNIT[side]
    if not unit:
        return weight
    mantissa, exponent = torch.frexp(weight)
    return torch.ldexp(torch.round(mantissa / unit) * unit, exponent)


'''


def norm(subject: Subject) -> Material:
    own: Norm = subject.place.fit.values["norm"]
    lines = ['x = tensor(f"{side}_x")']
    if own.kind == "layer":
        lines.append("x = x - x.mean(-1, keepdim=True)")
    lines.append("x = x / torch.sqrt(x.square().mean(-1, keepdim=True) + EPS)")
    shared: dict[str, Array] = {}
    if own.weight is not None:
        lines.append('x = x * tensor("weight")')
        shared["weight"] = own.weight
    if own.bias is not None:
        lines.append('x = x + tensor("bias")')
        shared["bias"] = own.bias
    lines.append("return x")
    code = f"EPS = {own.eps!r}\n\n\n" + _EXPECTED + _body(lines)
    return Material(code, shared, {"x": subject.inputs("x")})


def linear(subject: Subject) -> Material:
    values = subject.place.fit.values
    weight: Weight = values["weight"]
    bias: Array | None = values["bias"]
    channels = subject.of_weight(weight.shape)
    shared = {"weight": read_weight(weight, channels)}
    found, getter = _units(subject, weight)
    lines = [f'y = tensor(f"{{side}}_x") @ {getter("weight")}.T']
    if bias is not None:
        lines.append('y = y + tensor("bias")')
        shared["bias"] = bias if channels is None else bias[channels]
    lines.append("return y")
    code = found + _EXPECTED + _body(lines)
    return Material(code, shared, {"x": subject.inputs("x")}, channels)


def mlp(subject: Subject) -> Material:
    own: Layer = subject.place.fit.values["layer"]
    form: Form = subject.place.fit.values["form"]
    if any("x" not in case.inputs for case in subject.cases) or form != Form(form.function):
        raise NothingToReproduceError(
            f"{subject.place.row.label}: no template knows this form of a feed-forward network"
        )
    inner = subject.of_weight(own.up.shape) if own.down is None else None
    weights = {"gate": own.gate, "up": own.up, "down": own.down}
    channels = inner if own.down is None else subject.of_weight(own.down.shape)
    kept = {"gate": inner, "up": inner, "down": channels}
    _refuse_large(subject, [w for w in weights.values() if w is not None and inner is None])
    shared = {n: read_weight(w, kept[n]) for n, w in weights.items() if w is not None}
    found, getter = _units(subject, own.up)

    def product(name: str, of: str, bias: Array | None) -> str:
        if bias is None:
            return f"{of} @ {getter(name)}.T"
        part = kept[name]
        shared[f"{name}_bias"] = bias if part is None else bias[part]
        return f'{of} @ {getter(name)}.T + tensor("{name}_bias")'

    lines = ['x = tensor(f"{side}_x")', f"up = {product('up', 'x', own.biases[0])}"]
    if own.gate is not None:
        lines += [f"gate = {product('gate', 'x', own.biases[1])}", "y = function(gate) * up"]
    else:
        lines.append("y = function(up)")
    if own.down is not None:
        lines.append(f"y = {product('down', 'y', own.biases[2])}")
    lines.append("return y")
    code = found + _FUNCTION.format(code=FUNCTIONS[form.function.words]) + _EXPECTED
    return Material(code + _body(lines), shared, {"x": subject.inputs("x")}, channels)


def activation(subject: Subject) -> Material:
    name: str = subject.place.fit.values["function"]
    code = _FUNCTION.format(code=FUNCTIONS[name]) + _EXPECTED
    code += _body(['return function(tensor(f"{side}_x"))'])
    return Material(code, {}, {"x": subject.inputs("x", subject.by_size)}, subject.by_size)


def gated(subject: Subject) -> Material:
    form: Form = subject.place.fit.values["form"]
    sides = [operands(case, subject.place.fit.values["layout"])[:2] for case in subject.cases]
    kept: Array | slice = slice(None) if subject.by_size is None else subject.by_size
    sided = {
        name: (sides[0][at][:, kept], sides[1][at][:, kept])
        for at, name in enumerate(("gate", "up"))
    }
    lines = ['gate, up = tensor(f"{side}_gate"), tensor(f"{side}_up")']
    if form.limit is not None:
        lines.append(f"gate, up = gate.clamp(max={form.limit!r}), "
                     f"up.clamp({-form.limit!r}, {form.limit!r})")  # fmt: skip
    if form.added:
        lines.append(f"up = up + {form.added!r}")
    lines.append("return function(gate) * up")
    code = _FUNCTION.format(code=FUNCTIONS[form.function.words]) + _EXPECTED
    return Material(code + _body(lines), {}, sided, subject.by_size)


def residual(subject: Subject) -> Material:
    total: Sum = subject.place.fit.values["sum"]
    return _sum(subject, total.terms)


def embedding_sum(subject: Subject) -> Material:
    entry: Entry = subject.place.fit.values["entry"]
    return _sum(subject, (("tokens", entry.factor), *((name, 1.0) for name in entry.added)))


def _sum(subject: Subject, terms: Iterable[tuple[str, float]]) -> Material:
    sided: dict[str, tuple[Array, Array]] = {}
    lines = ["y = 0.0"]
    for number, (name, factor) in enumerate(terms):
        sided[f"term_{number}"] = subject.inputs(name, subject.by_size)
        shown = "".join(c if c.isprintable() else "?" for c in name)
        lines.append(f"# {shown}")
        lines.append(f'y = y + {float(factor)!r} * tensor(f"{{side}}_term_{number}")')
    lines.append("return y")
    return Material(_EXPECTED + _body(lines), {}, sided, subject.by_size)


def embedding(subject: Subject) -> Material:
    values = subject.place.fit.values
    table: Table = values["table"]
    ids = [case.more["ids"] for case in subject.cases]
    known = np.unique(np.concatenate(ids))
    lines = [
        'rows = tensor("table")[torch.searchsorted(tensor("table_ids"), tensor(f"{side}_ids"))]',
        f"return {float(values['factor'])!r} * rows",
    ]
    shared = {"table": table.rows(known), "table_ids": known}
    return Material(_EXPECTED + _body(lines), shared, {"ids": (ids[0], ids[1])})


def rotary_tables(subject: Subject) -> Material:
    place = subject.place
    turn: Turn = place.fit.values["turn"]
    frequencies: list[Array] = []
    for case in subject.cases:
        own = turn.rotary.frequencies(case.more["length"])
        frequencies.append(on_grid(own, turn.grid) if turn.grid else own)
    cos = (place.site.target.slot == "output") != turn.exchanged
    factor = turn.rotary.factor() * (1.0 if cos else turn.sign)
    lines = [
        'angles = tensor(f"{side}_positions").double()[:, None] * tensor(f"{side}_frequencies")',
        f"return {float(factor)!r} * torch.{'cos' if cos else 'sin'}("
        "torch.cat([angles, angles], -1))",
    ]
    sided = {
        "positions": subject.inputs("positions"), "frequencies": (frequencies[0], frequencies[1])
    }  # fmt: skip
    return Material(_EXPECTED + _body(lines), {}, sided)


def logits(subject: Subject) -> Material:
    own: Last = subject.place.fit.values["last"]
    if any("product" not in case.inputs for case in subject.cases):
        raise NothingToReproduceError(
            f"{subject.place.row.label}: the head's own product is not recorded"
        )
    lines = [f'x = {own.scale!r} * tensor(f"{{side}}_x")']
    if own.cap is None:
        lines.append("return x")
    else:
        lines.append(f"return {own.cap!r} * torch.tanh(x / {own.cap!r})")
    sided = {"x": subject.inputs("product", subject.by_size)}
    return Material(_EXPECTED + _body(lines), {}, sided, subject.by_size)


TEMPLATES: dict[str, Callable[[Subject], Material]] = {
    "norm": norm, "linear": linear, "activation": activation, "gated": gated, "gated-mlp": mlp,
    "residual": residual, "embedding": embedding, "embedding-sum": embedding_sum,
    "rotary tables": rotary_tables, "logits": logits, "attention": attention,
    "attention-probabilities": probabilities, "attention-values": weighted_values,
    "routing": routing, "shared-experts": shared_experts, "convolution": convolution,
    "pooling": pooling, "layer-scale": layer_scale,
}  # fmt: skip
# Laws that have none, and why.
WITHOUT: dict[str, str] = {
    "experts": "it would need the weights of all experts; its router has a test of its own",
}


def read_weight(weight: Weight, rows: Array | None) -> Array:
    """All rows of a stored weight, or some."""
    return weight.read() if rows is None else weight.take(rows.tolist())


def _refuse_large(subject: Subject, weights: list[Weight]) -> None:
    """Before they are read. Raises `NothingToReproduceError`."""
    size = sum(4 * prod(weight.shape) for weight in weights)
    if size > MOST_BYTES:
        raise NothingToReproduceError(
            f"{subject.place.row.label}: its weights have {size >> 20} MB in float32, more than "
            f"{MOST_BYTES >> 20} MB, which is too much for a test"
        )


def _units(subject: Subject, weight: Weight) -> tuple[str, Callable[[str], str]]:
    """How the weights are read in the code: rounded by a side, where it records so coarsely that
    its loader must have.
    """

    def unit(case: Case) -> float:
        return loaded_unit(weight, case.units["output"])

    left, right = map(unit, subject.cases)
    if not left and not right:
        return "", lambda name: f'tensor("{name}")'
    code = f'UNIT = {{"reference": {left!r}, "candidate": {right!r}}}\n\n\n' + _ROUNDED
    return code, lambda name: f'weight_of(side, "{name}")'


def _body(lines: list[str]) -> str:
    return "".join(f"    {line}\n" for line in lines)
