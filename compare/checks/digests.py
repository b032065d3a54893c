"""What captures kept of their parameters, compared by digests: no value of a capture is read."""

from __future__ import annotations

from collections.abc import Iterator

from ...capture.errors import CaptureError, RecordError
from ...capture.records import Capture
from ...capture.weights import Weights
from ...capture.weights.recorded import (
    Digest,
    digest_of,
    recorded_digests,
    sources_of_weights,
)
from ..comparison import Comparison
from ..matching.names.canonical import NameRules, canonical_name
from .finding import ADVICE_ON_WEIGHTS, Finding, SideName
from .one_side import Cancelled


def check_digests(comparison: Comparison) -> Iterator[Finding]:
    """Parameters that both captures kept and that had other bits. Those of other dtypes cannot be
    distinguished from rounded ones and are left out.
    """
    found: list[dict[tuple[str, str], tuple[str, Digest]]] = []
    sides: tuple[SideName, SideName] = ("reference", "candidate")
    for side in sides:
        try:
            digests = recorded_digests(getattr(comparison, side))
        except CaptureError as error:
            yield Finding("warning", "weights", f"kept parameters cannot be read: {error}",
                          "capture again", side)  # fmt: skip
            return
        found.append(_by_module(digests, getattr(comparison.rules, side)))
    left, right = found
    both = [
        (name, one, right[key][1])
        for key, (name, one) in left.items()
        if key in right and one.blake2b and right[key][1].blake2b
    ]
    alike = [(name, one, other) for name, one, other in both if one.dtype == other.dtype]
    apart = tuple(name for name, one, other in alike if one != other)
    if apart:
        words = f"{len(apart)} of {len(alike)} parameters had different values in the two runs"
        yield Finding("warning", "weights", words, ADVICE_ON_WEIGHTS, records=apart)


def check_own_weights(
    capture: Capture, weights: Weights, side: SideName, cancelled: Cancelled = None
) -> Iterator[Finding]:
    """Parameters that a run did not have as its checkpoint has them. Reads the checkpoint."""
    try:
        digests = recorded_digests(capture)
    except CaptureError:
        return  # `check_digests` reports it
    apart: list[str] = []
    compared = 0
    for source in sources_of_weights(weights) if digests else ():
        digest = digests.get(source.name)
        if digest is None or digest[:2] != (source.dtype, source.shape) or not digest.blake2b:
            continue
        if cancelled is not None and cancelled():
            return
        compared += 1
        try:
            if digest_of(source.read()) != digest.blake2b:
                apart.append(source.name)
        except RecordError:
            apart.append(source.name)
    if apart:
        words = f"{len(apart)} of {compared} parameters of the run were not those of its checkpoint"
        yield Finding("warning", "weights", words, "find out what changed them while loading", side,
                      tuple(apart))  # fmt: skip


def _by_module(
    digests: dict[str, Digest], names: NameRules
) -> dict[tuple[str, str], tuple[str, Digest]]:
    """Digests by canonical module and name; what shares both with another is left out."""
    found: dict[tuple[str, str], tuple[str, Digest]] = {}
    twice: set[tuple[str, str]] = set()
    for name, digest in digests.items():
        path, _, leaf = name.rpartition(".")
        key = (canonical_name(path, "", names).module, leaf)
        if key in found:
            twice.add(key)
        found[key] = (name, digest)
    return {key: value for key, value in found.items() if key not in twice}
