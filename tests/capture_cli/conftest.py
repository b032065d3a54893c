from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny llama: 2 layers, hidden size 64, with weights and a tokenizer."""
    from support.tiny_checkpoints import write_llama

    return write_llama(tmp_path_factory.mktemp("checkpoint") / "llama")
