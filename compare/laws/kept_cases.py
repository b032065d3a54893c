"""Which evaluations keep what was read for them, so that causes are looked for without reading the
same weights once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .evaluation import Evaluation
    from .law import Case

MOST = 1 << 23  # elements that are kept in all: 64 MiB
_LEAST = 1.5  # times the reference's local error that the candidate's must be: who breaks its law
_TINY = 1e-300


@dataclass
class KeptCases:
    """Lets those evaluations keep their cases whose candidate sticks out most, and whose law reads
    parameters; the others lose theirs.
    """

    evaluations: list[Evaluation]
    _places: list[tuple[float, int, int]] = field(default_factory=list)  # how far, which, size

    def add(self, evaluation: Evaluation) -> None:
        """Append one; of those before it some may lose their cases."""
        far = evaluation.candidate.total / max(evaluation.reference.total, _TINY)
        wanted = evaluation.fit.read and far >= _LEAST
        if evaluation.cases is None or not wanted:
            self.evaluations.append(replace(evaluation, cases=None))
            return
        self._places.append((far, len(self.evaluations), _size(evaluation.cases)))
        self.evaluations.append(evaluation)
        self._places.sort()
        while sum(size for _, _, size in self._places) > MOST:
            _, place, _ = self._places.pop(0)
            self.evaluations[place] = replace(self.evaluations[place], cases=None)


def _size(cases: Sequence[Case]) -> int:
    """Elements of cases with what was predicted of each output: values and their spread."""
    return sum(3 * c.output.size + sum(v.size for v in c.inputs.values()) for c in cases)
