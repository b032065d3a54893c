"""Which quantity of its module a name means: `X.output`, `X_inputs_args_0`, `X/1`, `X.__call__`.

For dumps that are dicts of tensors, whose names say module and slot as their author liked. A suffix
that may as well be a module (`attention.output`, `mlp.0`) counts as a slot only where nothing is
inside it, and where it stands alone or beside others of its kind.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

# What is left of a name when its slot is taken off, and the slot.
Split = tuple[str, str]

_FIELD = r"[A-Za-z_]\w*(?:[./]\w+)*|\d+(?:[./]\w+)*"
_CALLED = re.compile(r"^(?P<module>.*?)(?:^|[./_:])__call__(?:[./_:](?P<field>\d+))?$")
_HOOKED = re.compile(
    r"^(?P<module>.+?)(?:__|[._/:@ -])(?P<word>inputs|outputs|input|output)"
    r"(?:[._/:@-](?:args|kwargs))?(?:(?:__|[._/:@-])(?P<field>\d+|(?<=kwargs.)\w+))?$"
)
_PLURAL_FIELD = re.compile(r"^(?P<module>.+?)_(?P<word>outputs)_(?P<field>\w+)$")
_DOTTED = re.compile(
    rf"^(?P<module>.+)[./:@](?P<word>inputs|outputs|args|kwargs)"
    rf"(?:[./:@](?:args|kwargs))?(?:[./:@](?P<field>{_FIELD}))?$"
)
_INTRUDING = re.compile(
    rf"^(?P<module>non_intrusive__.+)\.(?P<word>input|output)\.(?P<field>{_FIELD})$"
)
_SHORT = re.compile(
    r"^(?P<module>.+?)(?P<joint>[._/:@-])(?P<word>out|in)(?:[._/:@-](?P<field>\d+))?$"
)
_MEMBER = re.compile(r"^(?P<module>.+)(?P<joint>[./:@])(?P<field>\d{1,3})$")
# `layer_0_self_attn_0`: only of modules that return tuples and that a layer has one of.
_JOINED = re.compile(r"^(?P<module>.*(?:\d.*(?:attn|attention)|rotary_emb))_(?P<field>\d{1,2})$")
# Words before `_out` and `_in` that make names of modules: `fc_out`, `proj_in`, `to_out`.
_NO_MODULES = frozenset(
    {"to", "proj", "fc", "ff", "linear", "lin", "embed", "conv", "dense", "hook", "l", "w", "c"}
)
_LISTS = frozenset(
    {"layers", "layer", "h", "blocks", "block", "blk", "experts", "hidden_states", "stages"}
)
# Modules that are often a list of others: `mlp.0` is its first part.
_SEQUENTIAL = frozenset(
    {"mlp", "ffn", "feed_forward", "ff", "net", "head", "classifier", "act_fn", "adapter", "router"}
)
_PARAMETERS = frozenset(
    {"weight", "bias", "kernel", "scale", "gamma", "beta", "embedding", "weights", "w", "b"}
)  # of checkpoints, which are compared too
_SHORT_STYLES = frozenset({"_out", "_in", "-out", "-in"})
_SHARE = 0.6  # of the names with one and the same ending: then it is no part of a module's name
_FEW = 3  # names that are too few to tell


@dataclass(frozen=True, slots=True)
class Ending:
    """A name taken apart. `style` is the ending without its numbers; `sure` says that it cannot be
    a module.
    """

    module: str
    slot: str
    style: str
    sure: bool


def endings(names: Iterable[str], known: Callable[[str], bool]) -> dict[str, Split]:
    """Modules and slots of those `names` that end in a slot; `known` tells whether a module's name
    has a meaning.
    """
    names = list(dict.fromkeys(names))
    found = {name: ending for name in names if (ending := ending_of(name)) is not None}
    shared = _shared_ending(names, known) if not found else None
    if shared is not None:
        return {name: (name[: -len(shared)], "output") for name in names}
    inside = _what_is_inside(names)
    common = _common(found.values(), len(names))
    taken: dict[str, Split] = {}
    for name, ending in found.items():
        if ending.style == "joined member":
            fine = known(ending.module) and ending.module not in names and not known(name)
        elif ending.style in ("member", "path member"):
            fine = _is_member(ending, found, inside, names, common, known)
        else:
            short = ending.style in _SHORT_STYLES and _last_word(ending.module) in _NO_MODULES
            alone = known(ending.module) and not known(name) and not short
            fine = ending.sure or ending.style in common or alone
            fine = fine and not _holds_modules(name, ending, inside)
        if fine:
            taken[name] = (ending.module, ending.slot)
    return taken


def _shared_ending(names: list[str], known: Callable[[str], bool]) -> str | None:
    """A last component that all names have and that is no module's: `.fwd`, `/activation`."""
    match = re.search(r"[./:@][A-Za-z_]\w*$", names[0]) if len(names) >= _FEW else None
    if (
        match is None
        or match[0][1:] in _PARAMETERS
        or known(names[0])
        or not all(name.endswith(match[0]) for name in names)
    ):
        return None
    bare = [name[: -len(match[0])] for name in names]
    return match[0] if sum(map(known, bare)) >= _SHARE * len(bare) else None


def ending_of(name: str) -> Ending | None:
    """The slot that a name may end in."""
    found = _CALLED.match(name)
    if found:
        return Ending(found["module"], _numbered("output", found["field"]), "__call__", True)
    patterns = (_HOOKED, False), (_PLURAL_FIELD, True), (_DOTTED, False), (_INTRUDING, True)
    for pattern, sure in patterns:
        found = pattern.match(name)
        if found:
            word = "output" if found["word"].startswith("out") else "input"
            plural = found["word"] in ("inputs", "outputs", "kwargs", "args")
            joint = name[len(found["module"])]
            slot = _numbered(word, found["field"])
            return Ending(
                found["module"], slot, f"{joint}{word}", sure or (plural and joint == "_")
            )
    found = _SHORT.match(name)
    if found:
        slot = _numbered(f"{found['word']}put", found["field"])
        return Ending(found["module"], slot, f"{found['joint']}{found['word']}", False)
    found = _MEMBER.match(name)
    if found and re.split(r"[./:@]", found["module"])[-1] not in _LISTS:
        style = "member" if found["joint"] == "." else "path member"
        return Ending(found["module"], f"output_{int(found['field'])}", style, False)
    found = _JOINED.match(name)
    if found:
        return Ending(found["module"], f"output_{int(found['field'])}", "joined member", False)
    return None


def _last_word(name: str) -> str:
    return re.split(r"[._/:@-]", name)[-1]


def _numbered(word: str, field: str | None) -> str:
    if field is None:
        return word
    return f"{word}_{field.replace('/', '_').replace('.', '_')}"


def _what_is_inside(names: list[str]) -> dict[str, set[str]]:
    """By the beginning of a name up to a joint, the rests."""
    inside: dict[str, set[str]] = defaultdict(set)
    for name in names:
        for joint in re.finditer(r"[./:@]", name):
            inside[name[: joint.start()]].add(name[joint.end() :])
    return inside


def _common(found: Iterable[Ending], count: int) -> set[str]:
    """Styles that most names of the dump have."""
    by_style: dict[str, int] = defaultdict(int)
    for ending in found:
        by_style[ending.style] += 1
    return {
        style for style, number in by_style.items() if number >= _FEW and number >= _SHARE * count
    }


def _holds_modules(name: str, ending: Ending, inside: Mapping[str, set[str]]) -> bool:
    """`attention.output` with an `attention.output.dense` beside it is a module, and so is
    `attn.out` beside `attn.query`.
    """
    if any(not re.match(r"\w+$", rest) or not rest.isdecimal() for rest in inside.get(name, ())):
        return True
    if ending.style not in (".out", "/out", ":out", ".in", "/in", ":in"):
        return False
    beside = {rest for rest in inside.get(ending.module, ()) if re.fullmatch(r"\w+", rest)}
    return any(not re.fullmatch(r"(?:in|out)(?:put)?s?(?:_\w+)?|\d+", rest) for rest in beside)


def _is_member(
    ending: Ending, found: Mapping[str, Ending], inside: Mapping[str, set[str]], names: list[str],
    common: set[str], known: Callable[[str], bool],
) -> bool:  # fmt: skip
    """Members of a tuple are numbered from 0 and stand instead of their module; modules in a list
    stand beside it, and have others inside.
    """
    if ending.module in found or ending.module in names:
        return False
    rests = inside.get(ending.module, set())
    numbers = sorted(int(rest) for rest in rests if rest.isdecimal())
    if numbers != list(range(len(numbers))):
        return False
    if ending.style in common and _mostly_alone(found.values(), ending.style):
        return True
    if not known(ending.module):
        return False
    if ending.style == "path member":
        return True
    several = len(numbers) == len(rests) and len(numbers) > 1
    return several and _last_word(ending.module) not in _SEQUENTIAL


def _mostly_alone(found: Iterable[Ending], style: str) -> bool:
    """Whether most members are the first of their tuple: modules in lists go on counting."""
    numbers = [ending.slot for ending in found if ending.style == style]
    return sum(slot == "output_0" for slot in numbers) >= _SHARE * len(numbers)
