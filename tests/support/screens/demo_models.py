"""The demo's captures, made in this process, which needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layertui.capture.demo.faults import Fault


class DemoModels:
    """Reference models and their captures, made once a dtype."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.made: dict[str, Any] = {}

    def captures(self, fault: Fault, dtype: str = "float32") -> tuple[Path, Path]:
        from layertui.capture.demo.demo import record_call, write_candidate
        from layertui.capture.demo.model import build_reference, reference_arguments

        reference = self.place / dtype / "reference"
        if dtype not in self.made:
            self.made[dtype] = build_reference(0, dtype)
            record_call(self.made[dtype], str(reference), **reference_arguments())
        candidate = self.place / dtype / fault.name
        write_candidate(self.made[dtype], fault, str(candidate))
        return reference, candidate


@contextmanager
def demo_models(place: Path) -> Iterator[DemoModels]:
    """Models below `place`; torch uses one thread meanwhile."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors this small only wait for one another
    yield DemoModels(place)
    torch.set_num_threads(threads)
