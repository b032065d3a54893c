"""The zip that `torch.save` writes: one folder, in it `data.pkl` and the storages."""

from __future__ import annotations

from ...errors import RecordError
from ...storage import OpenFile
from ..zip_directory import STORED, Archive
from .tensor_pickle import MOST_BYTES

_MOST_STORED = 1 << 30  # bytes of a pickle that lies in the file as it is; it may hold arrays


def pickle_in(file: OpenFile) -> tuple[bytes, int | None]:
    """The `data.pkl` of a torch file, and where in the file it lies if as it is."""
    archive = Archive(file)
    return pickle_under(archive, prefix_of(archive))


def pickle_under(archive: Archive, prefix: str) -> tuple[bytes, int | None]:
    """The same under the `<name>/` of `prefix_of`."""
    entry = archive.entries[f"{prefix}data.pkl"]
    stored = entry.method == STORED and entry.packed == entry.size
    most = _MOST_STORED if stored else MOST_BYTES
    return archive.read(entry, most), archive.data_offset(entry) if stored else None


def prefix_of(archive: Archive) -> str:
    """`<name>/`, the directory in the archive that everything is in."""
    for name in archive.entries:
        if name.endswith("/data.pkl") and name.count("/") == 1:
            prefix = name.removesuffix("data.pkl")
            if f"{prefix}constants.pkl" in archive.entries:
                raise RecordError("refused: a TorchScript program, not a file of tensors")
            return prefix
    raise RecordError("not a torch file: a zip without data.pkl")
