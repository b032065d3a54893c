"""Which parameter of a checkpoint belongs to a module, by the naming rules of records.

Frameworks join projections (`qkv_proj`, `gate_up_proj`) that a checkpoint has apart, and the
reverse; GPT-2 stores its matrices transposed; a language model's head may be the table of
embeddings. `SideParameters.weight` gives the rows that a module multiplies by all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...capture.dtypes import DTYPES
from ...capture.names import slot_role
from ...capture.weights import Parameter, Weights
from ..matching.names.canonical import ROOT, NameRules, canonical_name
from ..rules.rules import BUILT_IN_FUSED, FusedRule
from .fused_weights import EXPERT_PARTS, expert_part, head_rows, part_widths
from .weight import Weight

if TYPE_CHECKING:
    from ...capture.records import Capture
    from ..model import Row
    from ..rules.rules import Rules

__all__ = ["ModuleFacts", "SideParameters", "Weight", "facts_of_capture", "facts_of_rows"]

# What else a parameter may be called: BERT's published checkpoints have TensorFlow's names.
_OTHER_NAMES = {"weight": ("gamma",), "bias": ("beta",)}
# Modules of GPT-2 and its kin that store [in, out]: `Conv1D` in transformers/pytorch_utils.py.
_CONV1D = frozenset({"c_attn", "q_attn", "c_fc", "c_proj"})
_CONV1D_MODELS = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer"})
# Published checkpoints of Mixtral have other names than the modules of transformers since 5.0.
_MIXTURES = {"block_sparse_moe": "mlp"}
_EXPERT_NAMES = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
_HEAD = "lm_head"
_TABLE = "embed_tokens"


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """What captures tell of a module: its names as dumped, its class, its output's last size."""

    paths: tuple[str, ...] = ()
    kind: str | None = None
    width: int | None = None


def facts_of_capture(capture: Capture, names: NameRules | None = None) -> dict[str, ModuleFacts]:
    """Facts of the modules of one capture by canonical name."""
    names = names or NameRules()
    canonical: dict[str, str] = {}
    found: dict[str, ModuleFacts] = {}
    for record in capture.records:
        if record.module not in canonical:
            canonical[record.module] = canonical_name(record.module, capture.root, names).module
        width = record.shape[-1] if record.shape and slot_role(record.slot) == "output" else None
        _learn(found, canonical[record.module], record.module, record.module_class, width)
    return found


def facts_of_rows(
    rows: Iterable[Row], reference: Capture, candidate: Capture, rules: Rules
) -> dict[str, ModuleFacts]:
    """Facts of both sides' modules, under the names that the rows of a comparison have."""
    sides = ((reference, rules.reference), (candidate, rules.candidate))
    found: dict[str, ModuleFacts] = {}
    for row in rows:
        apart = row.matched_by in ("fused", "hand")  # the row may have another module's name
        for record, (capture, names) in zip((row.reference, row.candidate), sides, strict=True):
            if record is None:
                continue
            module = row.canonical
            if apart:
                module = canonical_name(record.module, capture.root, names).module
            output = record.shape and slot_role(record.slot) == "output"
            width = record.shape[-1] if record.shape and output else None
            _learn(found, module, record.module, record.module_class, width)
    return found


def _learn(
    found: dict[str, ModuleFacts], module: str, path: str, kind: str | None, width: int | None
) -> None:
    known = found.get(module, ModuleFacts())
    paths = known.paths if path in known.paths else (*known.paths, path)
    found[module] = ModuleFacts(paths, known.kind or kind, known.width or width)


class SideParameters:
    """The parameters of one checkpoint by the canonical modules of a comparison.

    `facts` are what the captures tell of their modules. `names` and `fused` are those of the rules
    file. `notes` fills with sentences on what was found and could not be used.
    """

    def __init__(
        self, weights: Weights, facts: Mapping[str, ModuleFacts] | None = None,
        names: NameRules | None = None, fused: tuple[FusedRule, ...] = BUILT_IN_FUSED,
    ) -> None:  # fmt: skip
        self.weights = weights
        self.facts = facts or {}
        self.notes: list[str] = [*weights.notes, *_quantised(weights)]
        self.fused = fused
        self._index = _index(weights, names or NameRules(), self.facts)
        self._conv1d = _stored_transposed(weights, self.facts)
        self._found: dict[tuple[str, str], Weight | None] = {}

    def find(self, module: str, name: str = "weight") -> Parameter | None:
        """The parameter `name` that the checkpoint has for the canonical `module`, as stored.

        None where the checkpoint joins it with others or has its parts apart: see `weight`.
        Stacked experts are found as `find("layers.0.mlp.experts", "gate_up_proj")`, with three
        axes.
        """
        names = (name, *_OTHER_NAMES.get(name, ()))
        for path in self.facts.get(module, ModuleFacts()).paths:
            for spelling in names:
                found = self.weights.parameters.get(f"{path}.{spelling}")
                if found is not None:
                    return found
        for spelling in names:
            found = self._index.get((module, spelling))
            if found is None and "." in module:
                found = self._index.get((self._without_prefix(module), spelling))
            if found is not None:
                return found
        return self._tied(module, name)

    def weight(self, module: str, name: str = "weight") -> Weight | None:
        """What `module` multiplies by or adds: [out, in] or [out], cut from or joined of the
        checkpoint's parameters where the two do not agree on the modules.

        None where the checkpoint does not have it, and where it is stored quantised (`notes` say
        so then).
        """
        key = (module, name)
        if key not in self._found:
            found = self._direct(module, name) or self._joined(module, name)
            found = found or self._part(module, name)
            self._found[key] = found if found is not None and self._is_plain(found) else None
        return self._found[key]

    def expert(self, experts: str, number: int, part: str) -> Weight | None:
        """The matrix [out, in] of one expert: `part` is `gate_proj`, `up_proj` or `down_proj`,
        `experts` the canonical module that holds them all (`layers.0.mlp.experts`).
        """
        if part not in EXPERT_PARTS:
            raise ValueError(f"{part}: an expert has {', '.join(EXPERT_PARTS)}")
        own = self.weight(f"{experts}.{number}.{part}")
        if own is not None:
            return own
        config = self.weights.config
        for stored in (part, "gate_up_proj"):
            stack = self.find(experts, stored)
            found = None if stack is None else expert_part(stack, stored, number, part, config)
            if found is not None:
                return found if self._is_plain(found) else None
        return None

    def modules(self) -> Iterator[str]:
        """The canonical modules that the checkpoint has parameters for."""
        yield from dict.fromkeys(module for module, _ in self._index)

    def entries(self) -> Iterator[tuple[str, str, Parameter]]:
        """Canonical module, name in it, and the parameter: each parameter once. Those that share
        both with another are left out.
        """
        seen: set[str] = set()
        for (module, name), parameter in self._index.items():
            if parameter.name not in seen:
                seen.add(parameter.name)
                yield module, name, parameter

    # where the checkpoint has it under the module's own name

    def _without_prefix(self, module: str) -> str:
        """`embeddings.norm` for `bert.embeddings.norm` where nothing else begins with `bert`."""
        first, _, rest = module.partition(".")
        prefix = first + "."
        return module if any(m.startswith(prefix) for m, _ in self._index) else rest

    def _tied(self, module: str, name: str) -> Parameter | None:
        if module.rpartition(".")[2] != _HEAD or name != "weight" or not self.weights.tied:
            return None
        return self._index.get((_TABLE, name)) or self.weights.embeddings()

    def _direct(self, module: str, name: str) -> Weight | None:
        parameter = self.find(module, name)
        return None if parameter is None else self._as_stored(parameter)

    def _as_stored(self, parameter: Parameter) -> Weight:
        path = parameter.name.rpartition(".")[0]
        conv1d = self._conv1d and path.rpartition(".")[2] in _CONV1D
        return Weight(parameter, transposed=conv1d and len(parameter.locator.shape) == 2)

    def _is_plain(self, weight: Weight) -> bool:
        """False for numbers that mean nothing without scales that lie beside them."""
        for piece in weight.pieces:
            stored = piece.parameter.locator.dtype
            module, _, leaf = piece.parameter.name.rpartition(".")
            scales = (f"{leaf}_scale", f"{leaf}_scale_inv", "scales", "scale", f"{leaf}.absmax")
            scaled = any(f"{module}.{scale}" in self.weights.parameters for scale in scales)
            if DTYPES[stored].kind != "float" or (scaled and DTYPES[stored].itemsize == 1):
                note = f"weights are stored quantised ({stored}), which is not read"
                self.notes += [] if note in self.notes else [note]
                return False
        return True

    # where the two do not agree on the modules

    def _joined(self, module: str, name: str) -> Weight | None:
        """Of the parameters of the parts, where the checkpoint has all of them."""
        for rule, parent in _rules_of(self.fused, module):
            parts = [self.weight(parent + part, name) for part in rule.parts]
            found = [part for part in parts if part is not None]
            if len(found) == len(parts) and len({part.shape[1:] for part in found}) == 1:
                first, *others = [piece for part in found for piece in part.pieces]
                return replace(first, more=tuple(others))
        return None

    def _part(self, module: str, name: str) -> Weight | None:
        """The rows that belong to `module` of a parameter that the checkpoint has joined."""
        for rule in self.fused:
            for index, part in enumerate(rule.parts):
                if module != part and not module.endswith("." + part):
                    continue
                parent = module[: len(module) - len(part)]
                whole = self._direct(parent + rule.fused, name)
                found = None if whole is None else self._cut(whole, rule, parent, index)
                if found is not None:
                    return found
        return None

    def _cut(self, whole: Weight, rule: FusedRule, parent: str, index: int) -> Weight | None:
        config, rows = self.weights.config, whole.shape[0]
        by_head = head_rows(whole.parameter.name, rule.parts[index], rows, config)
        if by_head is not None:
            first, *others = (replace(whole, rows=span) for span in by_head)
            return replace(first, more=tuple(others))
        recorded = [self.facts.get(parent + part, ModuleFacts()).width for part in rule.parts]
        widths = part_widths(rule.parts, whole.shape, recorded, config)
        if widths is None:
            return None
        start = sum(widths[:index])
        return replace(whole, rows=slice(start, start + widths[index]))


def _rules_of(rules: tuple[FusedRule, ...], module: str) -> Iterator[tuple[FusedRule, str]]:
    """The rules that say of what `module` is joined, with the path of its parent."""
    for rule in rules:
        if module == rule.fused or module.endswith("." + rule.fused):
            yield rule, module[: len(module) - len(rule.fused)]


def _index(
    weights: Weights, names: NameRules, facts: Mapping[str, ModuleFacts]
) -> dict[tuple[str, str], Parameter]:
    """Parameters by canonical module and own name; a name that two would get belongs to none."""
    index: dict[tuple[str, str], Parameter] = {}
    twice: set[tuple[str, str]] = set()
    canonical: dict[str, str] = {}
    for parameter in weights.parameters.values():
        path, _, name = parameter.name.rpartition(".")
        if path not in canonical:
            usual = ".".join(_MIXTURES.get(part, part) for part in path.split("."))
            canonical[path] = _of_experts(canonical_name(usual, "", names).module)
        key = (canonical[path], name)
        if key in index:
            twice.add(key)
        index[key] = parameter
    for key in twice:
        del index[key]
    _without_prefixes(index, facts)
    return index


def _of_experts(module: str) -> str:
    """With the usual names for the parts of an expert, which Mixtral calls w1, w2 and w3."""
    parts = module.split(".")
    if len(parts) > 2 and parts[-2].isdecimal() and parts[-3] == "experts":
        parts[-1] = _EXPERT_NAMES.get(parts[-1], parts[-1])
    return ".".join(parts)


def _without_prefixes(
    index: dict[tuple[str, str], Parameter], facts: Mapping[str, ModuleFacts]
) -> None:
    """Find `bert.embeddings.norm` as `embeddings.norm` too, where no module of the captures is
    below `bert`.
    """
    known = {module.partition(".")[0] for module in facts}
    for (module, name), parameter in list(index.items()):
        first, dot, rest = module.partition(".")
        if dot and first not in known and first not in ("layers", ROOT):
            index.setdefault((rest, name), parameter)


def _quantised(weights: Weights) -> list[str]:
    said = weights.config.get("quantization_config")
    if not isinstance(said, dict):
        return []
    return [f"its weights are quantised ({str(said.get('quant_method'))[:20]})"]


def _stored_transposed(weights: Weights, facts: Mapping[str, ModuleFacts]) -> bool:
    """Whether the checkpoint's `c_attn`, `c_fc` and `c_proj` are stored as [in, out]: a bias has
    as many elements as the module has outputs, which tells unless the matrices are square.
    """
    votes = 0
    for name, parameter in weights.parameters.items():
        path, _, leaf = name.rpartition(".")
        shape = parameter.locator.shape
        bias = weights.parameters.get(f"{path}.bias")
        if leaf != "weight" or path.rpartition(".")[2] not in _CONV1D or len(shape) != 2:
            continue
        if bias is not None and shape[0] != shape[1]:
            votes += (bias.locator.shape == shape[1:]) - (bias.locator.shape == shape[:1])
    if votes:
        return votes > 0
    if weights.config.get("model_type") in _CONV1D_MODELS:
        return True
    return any(fact.kind == "Conv1D" for fact in facts.values())
