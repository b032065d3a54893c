"""Checks of one capture: is it whole, in order, and were its values computed at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from ...capture.plurals import HAS, HOLDS, IS, counted, which
from ...capture.records import Capture
from ..judging.noise.dropout import dropout_of_run
from ..matching.named_records import Item, side_of
from ..matching.names.canonical import ROOT, NameRules, parent_of
from ..matching.names.roles import is_shared
from ..rules.rules import Rules
from .finding import Finding, SideName, sorted_findings
from .precision import check_precision
from .rank_copies import check_copies
from .samples import Budget, Looks
from .stale import LAYER, LEAST, stale_outputs

Cancelled = Callable[[], bool] | None

# The same in every layer by design: tables of positions, masks, biases by distance.


def check_capture(
    capture: Capture, side: SideName | None = None, names: NameRules | None = None,
    cancelled: Cancelled = None, looks: Looks | None = None,
) -> list[Finding]:  # fmt: skip
    """All findings about one capture (headers read), the worst first. `looks` keeps what was seen.

    Reads samples of every output, and in full what the samples make suspicious, at most 2 GB. Stops
    early, with what it has, when `cancelled` returns True.
    """
    items = side_of(capture, names or NameRules(), Rules()).items
    found = _by_headers(capture, items)
    looks = looks or Looks(Budget())
    outputs = [item for item in items if is_value(item)]
    if looks.see([item.record for item in outputs], cancelled):
        found += _values(outputs, items, looks)
        found += _random(capture)
        found += check_copies(capture, looks.budget, cancelled)
    if looks.budget.spent:
        found.append(
            Finding("note", "partial",
                    "not all outputs that look equal or constant were read in full",
                    "captures of more than 2 GB are checked by samples")
        )  # fmt: skip
    return sorted_findings(_with_side(found, side))


def check_headers(
    capture: Capture, side: SideName | None = None, names: NameRules | None = None
) -> list[Finding]:  # fmt: skip
    """What names and headers show of one capture, the worst first: no values are read."""
    items = side_of(capture, names or NameRules(), Rules()).items
    return sorted_findings(_with_side(_by_headers(capture, items), side))


def _by_headers(capture: Capture, items: list[Item]) -> list[Finding]:
    return [
        *_wholeness(capture, items),
        *_steps(capture, items),
        *_layers(items),
        *_ranks(capture),
        *_order(capture, items),
    ]


def _ranks(capture: Capture) -> Iterable[Finding]:
    """Ranks that share a model and give other results of the same inputs."""
    unequal = capture.unequal_ranks
    if unequal:
        named = tuple(dict.fromkeys(one.name for one in unequal))
        count = counted(len(named), "output", ("differs", "differ"))
        first = "" if len(named) == 1 else "in the first "
        what = f"{count} between ranks that were given the same inputs: {first}{unequal[0].where}"
        advice = "one rank computes something else, unless these are parts that are added up later"
        yield Finding("warning", "ranks", what, advice, records=named)


def _with_side(found: Iterable[Finding], side: SideName | None) -> list[Finding]:
    return [replace(finding, side=side) for finding in found]


def is_value(item: Item) -> bool:
    """The main floating-point result of a call that depends on the input."""
    return (
        item.kind in ("float", "complex")
        and item.slot in ("output", "value")
        and not is_shared(item.module)
        and item.record.locator is not None
        and item.record.locator.count >= LEAST
    )


# Wholeness


def _wholeness(capture: Capture, items: list[Item]) -> list[Finding]:
    found: list[Finding] = []
    if not any(item.role in ("output", "value") for item in items):
        found.append(
            Finding("warning", "empty", "it has inputs only, no outputs",
                    "record outputs as well: the first divergence is searched for among outputs")
        )  # fmt: skip
    if capture.complete is False:
        found.append(
            Finding("error", "incomplete",
                    "the run did not finish, and what would have followed is missing",
                    "run it again, or compare only what it has")
        )  # fmt: skip
    broken = [r.name for r in capture.records if r.error is not None]
    if broken:
        first = next(r.error for r in capture.records if r.error is not None)
        found.append(
            Finding("error", "unreadable",
                    f"{counted(len(broken), 'record')} cannot be read: {first}",
                    f"capture {which(len(broken), 'it', 'them')} again", records=tuple(broken))
        )  # fmt: skip
    bare = [r.name for r in capture.records if r.locator is None and r.error is None]
    if bare:
        found.append(
            Finding("note", "statistics",
                    f"{counted(len(bare), 'record', HOLDS)} statistics without values",
                    "they are compared by these", records=tuple(bare))
        )  # fmt: skip
    cut = [r.name for r in capture.records if r.partial is not None]
    if cut:
        found.append(
            Finding("note", "partial",
                    f"{counted(len(cut), 'record', HOLDS)} only some of the elements",
                    "those that both sides have are compared", records=tuple(cut))
        )  # fmt: skip
    hollow = [i for i in items if i.record.locator is not None and not i.record.locator.count]
    if hollow:
        results = any(item.role in ("output", "value") for item in hollow)
        found.append(
            Finding("warning" if results else "note", "empty",
                    f"{counted(len(hollow), 'record', HAS)} no elements",
                    "there is nothing to compare",
                    records=tuple(item.record.name for item in hollow))
        )  # fmt: skip
    return found


def _steps(capture: Capture, items: list[Item]) -> list[Finding]:
    """Steps that are missing between others, and modules that one decode step lacks."""
    steps: dict[int, set[tuple[str, int]]] = {}
    for item in items:
        if item.role in ("output", "value"):
            steps.setdefault(item.step, set()).add((item.module, item.record.call))
    if not steps:
        return []
    found: list[Finding] = []
    lost = sorted(set(range(max(steps))) - set(steps)) if max(steps) < 1_000_000 else []
    if lost == [0] and capture.order_source != "manifest":
        words = "steps begin at 1: they are counted so, or the first was not dumped"
        found.append(Finding("note", "steps", words, "look whether step 1 holds the prompt"))
    elif lost and len(steps) == 1:  # a training run's `iter_0000010`, or a step that was chosen
        words = f"only step {max(steps)} is there"
        found.append(Finding("note", "steps", words, "look whether others should have been dumped"))
    elif lost:
        listed = ", ".join(map(str, lost[:5])) + (", ..." if len(lost) > 5 else "")
        steps_are = f"{which(len(lost), 'step', 'steps')} {listed} {which(len(lost), *IS)}"
        found.append(
            Finding("error", "steps", f"{steps_are} missing, though step {max(steps)} is there",
                    "frames were lost (CUDA graphs run no hooks): capture again without them")
        )  # fmt: skip
    decode = [step for step in sorted(steps) if step > 0]
    typical = _typical([steps[step] for step in decode])
    for step in decode if len(decode) > 2 else ():
        missing = sorted(f"{module}({call})" if call > 1 else module
                         for module, call in typical - steps[step])  # fmt: skip
        if missing:
            found.append(
                Finding("warning", "steps",
                        f"step {step} lacks {counted(len(missing), 'module')} of other steps",
                        "the run was cut short there, or hooks did not fire",
                        records=tuple(missing))
            )  # fmt: skip
    return found


def _typical(sets: list[set[tuple[str, int]]]) -> set[tuple[str, int]]:
    """What more than half of the sets have."""
    counts: dict[tuple[str, int], int] = {}
    for one in sets:
        for key in one:
            counts[key] = counts.get(key, 0) + 1
    return {key for key, count in counts.items() if 2 * count > len(sets)}


def _layers(items: list[Item]) -> list[Finding]:
    """Layers missing between others of their stack."""
    stacks: dict[str, set[int]] = {}
    for item in items:
        match = LAYER.match(item.module)
        if match:
            stacks.setdefault(match["stack"], set()).add(int(match["number"][:9]))
    found: list[Finding] = []
    for stack, numbers in stacks.items():
        if max(numbers) > 100_000:
            continue
        lost = sorted(set(range(min(numbers), max(numbers))) - numbers)
        if lost:
            listed = ", ".join(f"{stack}.{number}" for number in lost[:5])
            more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
            found.append(
                Finding("warning", "layers", f"no record of {listed}{more}",
                        f"the capture has layers up to {stack}.{max(numbers)}: check which modules "
                        "were to be recorded, and whether all hooks fired")
            )  # fmt: skip
    return found


def _order(capture: Capture, items: list[Item]) -> list[Finding]:
    """Outputs return children first, and layer after layer; what goes backwards is reported."""
    if not capture.order_known:
        return []
    backwards: list[str] = []
    last: dict[tuple[int, str], int] = {}
    done: dict[tuple[int, str], Item] = {}
    for item in items:
        if item.role != "output" or item.record.call > 1:
            continue
        key = (item.step, item.module)
        done.setdefault(key, item)
        parent = parent_of(item.module)
        if parent != ROOT and (item.step, parent) in done and parent != item.module:
            backwards.append(item.record.name)
        match = LAYER.match(item.module)
        if match and not match["rest"]:
            stack, number = (item.step, match["stack"]), int(match["number"][:9])
            if number < last.get(stack, -1):
                backwards.append(item.record.name)
            last[stack] = max(number, last.get(stack, -1))
    if not backwards:
        return []
    return [
        Finding("warning", "order",
                f"the order goes backwards at {counted(len(backwards), 'output')} (layers out of "
                "sequence, or a module before its submodules)",
                f"the order comes from {capture.order_source}, and the first divergence is only "
                "as reliable as that", records=tuple(backwards))
    ]  # fmt: skip


# Values


def _values(outputs: list[Item], items: list[Item], looks: Looks) -> list[Finding]:
    constants = {
        id(item): value for item in outputs if (value := looks.constant(item.record)) is not None
    }
    moving = [
        item for item in outputs if id(item) not in constants and looks.of(item.record) is not None
    ]
    return [
        *_constants(outputs, constants),
        *_nans(outputs, looks),
        *stale_outputs(moving, items, looks),
        *check_precision(moving, looks),
    ]


def _random(capture: Capture) -> list[Finding]:
    dropout = dropout_of_run(capture)
    if dropout is None:
        return []
    return [
        Finding("warning", "config", dropout.words, "call model.eval(): any two such runs differ, "
                "so their rows are judged by statistics", records=dropout.names)
    ]  # fmt: skip


def _constants(outputs: list[Item], constants: dict[int, float]) -> list[Finding]:
    found: list[Finding] = []
    flat = [item for item in outputs if id(item) in constants]
    for word, chosen in (
        ("all zeros", [item for item in flat if constants[id(item)] == 0]),
        ("the same number everywhere", [item for item in flat if constants[id(item)] != 0]),
    ):
        if chosen:
            most = 2 * len(chosen) > len(outputs)
            found.append(
                Finding("error" if most else "warning", "constant",
                        f"{len(chosen)} of {counted(len(outputs), 'output')} "
                        f"{which(len(chosen), *IS)} {word}",
                        "check whether outputs were written before they were computed, or weights "
                        "are missing", records=tuple(item.record.name for item in chosen))
            )  # fmt: skip
    return found


def _nans(outputs: list[Item], looks: Looks) -> list[Finding]:
    seen = [(item.record.name, one) for item in outputs if (one := looks.of(item.record))]
    whole = [name for name, look_at in seen if look_at.all_nan]
    some = [name for name, look_at in seen if look_at.any_nan and not look_at.all_nan]
    found: list[Finding] = []
    if whole:
        found.append(
            Finding("error", "nan",
                    f"{counted(len(whole), 'output', ('seems', 'seem'))} to hold nothing but NaN",
                    "start with the first one", records=tuple(whole))
        )  # fmt: skip
    if some:
        found.append(
            Finding("warning", "nan",
                    f"{counted(len(some), 'output', ('contains', 'contain'))} NaN",
                    "start with the first one", records=tuple(some))
        )  # fmt: skip
    return found
