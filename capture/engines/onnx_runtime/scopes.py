"""In which modules a node of an exported graph runs.

torch's exporter notes it at the node (`pkg.torch.onnx.name_scopes`, with the classes in
`pkg.torch.onnx.class_hierarchy`); its older one, by which optimum exports too, in the name of the
node: `/model/layers.0/mlp/down_proj/MatMul`. Nodes that an optimisation of the exporter made have
neither: they belong where what they make is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ...formats.tools.onnx_names import listed_scopes, without_wrapper
from .index import Index
from .quantised import Scope, settle_quantised, shared_scope

_NAMES = "pkg.torch.onnx.name_scopes"
_CLASSES = "pkg.torch.onnx.class_hierarchy"
_NO_MODULE = "_empty_nn_module_stack_from_metadata_hook"  # torch.export, of sizes
_COUNTED = re.compile(r"^(.+)_(\d+)$")
_PATH = re.compile(r"^/(?:[^/]+/)*[A-Z]\w*$")


def scopes_of(index: Index) -> tuple[list[Scope], dict[str, str], dict[str, None]]:
    """The scope of each node, empty where nothing tells it; classes of modules, where noted; and
    the modules whose ends were lost when the graph was quantised.
    """
    noted: list[Scope] = []
    classes: dict[str, str] = {}
    named = _from_names(index)
    for node in index.nodes:
        said = {entry.key: entry.value for entry in node.metadata_props}
        scope = _noted(said.get(_NAMES, "")) or named.get(node.name, ())
        noted.append(scope)
        kinds = listed_scopes(said.get(_CLASSES, ""))
        if scope and len(kinds) == len(scope):
            classes.update((name, kind.rpartition(".")[2]) for name, kind in zip(scope, kinds))  # noqa: B905
    shorten = without_wrapper(noted)
    if shorten is not None:
        noted = [shorten(scope) for scope in noted]
        classes = _shortened(classes, shorten)
    lost: dict[str, None] = {}
    if any(len(scope) > 1 for scope in noted):
        lost = settle_quantised(noted, index)
        _fill_gaps(noted, index)
    return noted, classes, lost


def _noted(text: str) -> Scope:
    scope = listed_scopes(text)
    return () if _NO_MODULE in scope else scope


def _from_name(name: str) -> Scope:
    if _PATH.match(name) is None:
        return ()
    parts = name.strip("/").split("/")[:-1]
    return ("", *(".".join(parts[: count + 1]) for count in range(len(parts))))


def _from_names(index: Index) -> dict[str, Scope]:
    """Scopes by the names of nodes. A module's further calls have names of their own, `lin_1`
    beside `lin`; they become `lin@1`. A module of that name is told by its weights.
    """
    found = {node.name: scope for node in index.nodes if (scope := _from_name(node.name))}
    paths = {path for scope in found.values() for path in scope}
    again: dict[str, tuple[str, str]] = {}
    for path in paths:
        counted = _COUNTED.match(path)
        if counted is None or counted[1] not in paths:
            continue
        if not any(name.startswith(f"{path}.") for name in index.initializers):
            again[path] = counted[1], counted[2]
    if not again:
        return found
    return {name: tuple(_as_call(path, again) for path in scope) for name, scope in found.items()}


def _as_call(path: str, again: dict[str, tuple[str, str]]) -> str:
    """`block.lin_1.part` as `block.lin.part@1`."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        found = again.get(".".join(parts[:count]))
        if found is not None:
            return f"{'.'.join([found[0], *parts[count:]])}@{found[1]}"
    return path


def _shortened(classes: dict[str, str], shorten: Callable[[Scope], Scope]) -> dict[str, str]:
    """The wrapper's class goes, that of the model in it is the root's."""
    found: dict[str, str] = {}
    for name, kind in classes.items():
        kept = shorten(("", name)) if name else ()
        if name:
            found[kept[1] if len(kept) > 1 else ""] = kind
    return found


def _fill_gaps(scopes: list[Scope], index: Index) -> None:
    """Give each node without a scope the innermost one that all users of its values share."""
    for number in range(len(scopes) - 1, -1, -1):
        if not scopes[number]:
            users = [scopes[user] for value in index.outputs[number]
                     for user in index.users.get(value, ()) if scopes[user]]  # fmt: skip
            scopes[number] = shared_scope(users)
    for number, scope in enumerate(scopes):
        if not scope:
            makers = [scopes[index.maker[value]] for value in index.inputs[number]
                      if value in index.maker and scopes[index.maker[value]]]  # fmt: skip
            scopes[number] = shared_scope(makers) or ("",)
