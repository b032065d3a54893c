"""Where torch is not installed, the tests that need it are skipped; all others must pass.

Needed by a test is what the test itself, its helpers, or the rooms of the program that come with
the extra `torch` import. An import of torch from anywhere else in the program is a failure: what
looks at captures must work without it.
"""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Generator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent.parent
ABSENT = frozenset(
    name
    for name in (
        "torch",
        "transformers",
        "accelerate",
        "tokenizers",
        "gguf",
        "onnx",
        "onnxruntime",
        "onnxscript",
        "openvino",
        "llama_cpp",
    )
    if importlib.util.find_spec(name) is None
)
# What the extra is for: these may import torch.
ROOMS_OF_THE_EXTRA = (
    "capture/recorder",
    "capture/engines",
    "capture/models",
    "capture/runners",
    "capture/demo",
    "compare/device",
    "capture/__init__.py",  # whose lazy `record` and `tap` need it
    "capture/extras.py",  # says what is missing
    "benchmarks",
)


def reason(error: BaseException | None) -> str | None:
    """Why a test that raised `error` is to be skipped; None where it failed."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    name = (error.name or "").partition(".")[0]
    if name not in ABSENT or not _may_import(error):
        return None
    return f"needs {name}"


def _may_import(error: ModuleNotFoundError) -> bool:
    """Whether the code of ours that came last is a test's, or the extra's."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if not path.is_relative_to(PROGRAM) or "site-packages" in path.parts:
            continue
        place = path.relative_to(PROGRAM)
        rooms = ("tests", *ROOMS_OF_THE_EXTRA)
        return any(place.is_relative_to(room) for room in rooms)
    return False


class Module(pytest.Module):
    """A test module; one that cannot be imported without torch is skipped as a whole."""

    def collect(self):  # type: ignore[no-untyped-def]
        try:
            return super().collect()
        except self.CollectError as error:
            why = reason(error.__cause__)
            if why is None:
                raise
            pytest.skip(why, allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Module | None:
    return Module.from_parent(parent, path=module_path) if ABSENT else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "torch" in ABSENT or "transformers" in ABSENT:
        for item in items:
            if any(item.iter_markers("torch")):
                item.add_marker(pytest.mark.skip(reason="needs the extra torch"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    why = reason(call.excinfo.value) if call.excinfo is not None else None
    if why is not None:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), (item.location[1] or 0) + 1, f"Skipped: {why}")
    return report
