"""The fast lane: `-m 'not slow'` leaves out what drives terminals, starts processes or runs models.

What is slow is a folder, a file or a test here, so that nobody has to think of a marker; folders
and files are then not even imported. Measure with `pytest --durations 40` before you add to a list.
"""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
SLOW_FOLDERS = (
    "capture/engines",
    "capture/recorder",
    "capture/runners",
    "capture_cli",
    "compare/device",
    "compare/laws",
    "compare/ranks",
    "compare/repro",
    "compare/rerun",
    "tui",
)
SLOW_FILES = (
    "capture/formats/test_fuzz_dumps.py",
    "capture/formats/test_fuzz_readers.py",
    "capture/formats/test_fuzz_text.py",
    "capture/formats/test_max_writes.py",
    "capture/remote/test_s3.py",
    "capture/remote/test_web.py",
    "capture/test_snippets.py",
    "cli/test_compare_cli.py",
    "cli/test_completion.py",
    "cli/test_demo.py",
    "cli/test_device.py",
    "cli/test_golden.py",
    "cli/test_main.py",
    "cli/test_new_judging.py",
    "cli/test_new_metric.py",
    "cli/test_show.py",
    "compare/inspection/test_inspect_running.py",
    "compare/running/test_cache.py",
    "compare/running/test_cluster.py",
    "compare/judging/test_clean_families.py",
    "compare/judging/test_dropout.py",
    "compare/judging/test_kinds_of_captures.py",
    "compare/judging/test_kinds_of_faults.py",
    "compare/layout_search/test_likely.py",
    "compare/judging/test_noise.py",
    "compare/reports/test_reports.py",
    "compare/matching/test_scale.py",
    "compare/running/test_scheduling.py",
    "compare/test_testing.py",
    "compare/weights/test_gguf_weights.py",
    "test_contributing.py",
    "test_light_install.py",
    "test_remote_page.py",
    "test_stuck.py",
)
SLOW_TESTS = (
    "capture/formats/test_console_log.py::test_torch_print_of_megabytes",
    "capture/formats/test_labelled_lists.py::test_a_list_that_repeats_itself_is_refused_soon",
    "capture/formats/test_raw_index.py::test_very_many_entries",
    "compare/matching/test_no_wrong_pair.py::test_a_pair_holds_one_quantity",
    "compare/measuring/test_measure.py::test_memory_does_not_grow_with_the_tensors",
    "test_readme.py::test_example_of_running_the_demo_s_layers_again",
)


def is_slow(path: Path) -> bool:
    """Whether the tests of a file are left out of the fast lane."""
    if not path.is_relative_to(HERE):
        return False
    place = path.relative_to(HERE)
    return place.as_posix() in SLOW_FILES or any(place.is_relative_to(f) for f in SLOW_FOLDERS)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """In the fast lane: importing torch and transformers takes longer than its tests."""
    fast = config.option.markexpr == "not slow"
    return True if fast and is_slow(collection_path) else None


@pytest.hookimpl(tryfirst=True)  # before `-m` is looked at
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        marked = {mark.name for mark in item.iter_markers()}
        alone = item.nodeid.partition("[")[0].removeprefix("tests/") in SLOW_TESTS
        if alone or is_slow(item.path) or marked & {"llamacpp", "max", "trained", "tmux"}:
            item.add_marker(pytest.mark.slow)
