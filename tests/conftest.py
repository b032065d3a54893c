"""Fixtures shared by all tests: the real captures, and a private home for the program's caches."""

from __future__ import annotations

import itertools
import os
import signal
import tarfile
from pathlib import Path

import pytest

# A shell's background job ignores Ctrl-C, and so would every program that a test starts and
# interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tensors here are small: threads inside one operation only take the other workers' cores.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

pytest.register_assert_rewrite("support")

pytest_plugins = ["lanes", "stuck", "without_torch"]

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the real captures, `<pair>/{torch_dump,max_dump}` each."""
    root = tmp_path_factory.mktemp("real")
    for archive in sorted(DATA.glob("*.tar.xz")):
        with tarfile.open(archive) as tar:
            tar.extractall(root, filter="data")
    return root


_HOMES = itertools.count()


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def private_home(homes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Config, cache and state go below a directory of the test's own, never to the user's."""
    home = homes / str(next(_HOMES))
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return home
