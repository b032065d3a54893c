"""What files seem to be that are not read, and what to do with them, in words."""

from __future__ import annotations

from ..files import FoundFile
from ..storage import first_bytes

_PEEK = 512
_ARCHIVE = "unpack it and open the contents"
# By the first bytes: what a file is, and what to do.
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "compressed by gzip", _ARCHIVE),
    (b"\xfd7zXZ", "compressed by xz", _ARCHIVE),
    (b"BZh", "compressed by bzip2", _ARCHIVE),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", _ARCHIVE),
    (b"7z\xbc\xaf", "a 7z archive", _ARCHIVE),
    (b"\x89HDF", "HDF5", "name it .h5"),
    (b"PAR1", "Parquet", "name it .parquet"),
    (b"GGUF", "GGUF weights", "name it .gguf"),
    (b"\x93NUMPY", "an array of numpy", "name it .npy"),
    (b"ARROW1", "an Arrow table", "write it as .parquet or .npz"),
    (b"MATLAB 5.0", "a MATLAB file", "write it as .npz (scipy.io.loadmat, numpy.savez)"),
    (b"SQLite format 3", "a database", "write the tensors as .npz or .safetensors"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself (git lfs pull)"),
    (b"PK\x03\x04", "a zip archive", _ARCHIVE),
    (b"\x80\x02", "a pickle", "name it .pkl, or .pt if torch wrote it"),
    (b"\x80\x04", "a pickle", "name it .pkl"),
    (b"\x80\x05", "a pickle", "name it .pkl"),
)
_SUFFIX: dict[str, tuple[str, str]] = {
    ".onnx": ("an ONNX graph", "run it and save the values of its nodes as .npz beside it"),
    ".engine": ("a TensorRT engine", "run it (polygraphy run --save-outputs) and open the results"),
    ".plan": ("a TensorRT engine", "run it (polygraphy run --save-outputs) and open the results"),
    ".tflite": ("a TensorFlow Lite model", "run it and save its tensors as .npz"),
    ".pb": ("a TensorFlow graph", "run it and save its tensors as .npz"),
    ".tar": ("a tar archive", _ARCHIVE),
    ".nemo": ("a NeMo archive", _ARCHIVE),
    ".mat": ("a MATLAB file", "write it as .npz (scipy.io.loadmat, numpy.savez)"),
    ".nsys-rep": ("a profile", "it holds times, not tensors"),
    ".ipynb": ("a notebook", "save its tensors by torch.save or numpy.savez"),
    ".index": ("an index of TensorFlow", "read the checkpoint there and save it as .npz"),
    ".yaml": ("settings", "open the files with the tensors"),
    ".py": ("a program", "run it, and open what it writes"),
}


def look_alike(found: FoundFile) -> str | None:
    """`an ONNX graph: run it and ...`; None for a file of which nothing can be said."""
    try:
        head = b"" if found.problem else first_bytes(found.path, _PEEK)
    except OSError:
        head = b""
    for magic, what, advice in _MAGIC:
        if head.startswith(magic):
            return f"{what}: {advice}"
    if found.suffix in _SUFFIX:
        return ": ".join(_SUFFIX[found.suffix])
    if found.suffix == ".json":
        return "JSON without lists of numbers"
    if not head:
        return "empty" if not found.problem else None
    if found.suffix not in (".txt", ".md", ".log") and b"\0" in head:
        return "unknown bytes: --raw 10x64xf32 says what raw elements they are"
    return None
