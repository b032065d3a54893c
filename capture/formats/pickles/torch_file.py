"""torch files (`.pt`, `.pth`) as `torch.save` writes them, read without torch.

Since torch 1.6 they are zip archives: `<name>/data.pkl` says which views of which storages there
are, `<name>/data/<key>` holds the plain bytes of one storage, `<name>/byteorder` is `little` (torch
2.1 and later). What this reader does not know goes to torch in a child process: the older format,
quantized and sparse tensors. Layout: `_save` in torch/serialization.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from ...dtypes import DTYPES
from ...errors import RecordError
from ...files import FoundFile
from ...records import Locator, Record
from ...storage import OpenFile, open_file, storage_of
from ..context import Context
from ..extents import checked_shape, checked_strides, reach, refuse_bomb
from ..members import named_member, named_record, place_members
from ..zip_directory import STORED, Archive, Entry
from . import tensor_pickle
from .pickle_file import locate
from .pickled_arrays import locate_array, pickle_of
from .pickled_objects import Array, Refused
from .tensor_pickle import NeedsTorchError, Storage, Tensor
from .torch_archive import pickle_under, prefix_of

if TYPE_CHECKING:
    from ...values import Array as Values

_ALONE = "*"  # in `Record.key` until the file is read: its tensors are the whole capture
LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."  # before torch 1.6


@dataclass(frozen=True, slots=True)
class Member:
    """A tensor in a file: the keys that lead to it, and where it lies or why it cannot be read."""

    keys: tuple[str, ...]
    locator: Locator | None
    error: str | None = None


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """One record a file, named by the file, which is not opened."""
    record = named_record(found, found.stem)
    if context.alone:
        record.key = _ALONE
    return [record]


def read_header(record: Record) -> list[Record]:
    """Complete `record`; a file with a dict or list of tensors gives a record for each.

    Raises `RecordError`, `OSError`.
    """
    alone = record.key == _ALONE
    members = _unwrapped(read_members(record.path))
    if not members:
        raise RecordError("holds no tensor")
    placed = place_members([member.keys for member in members])
    single = len(members) == 1
    records: list[Record] = []
    for member, (key, step) in zip(members, placed, strict=True):
        if member.keys:
            named = named_member(record, key, member.locator, alone=alone, single=single, step=step)
        else:
            named = replace(record, key="", locator=member.locator)
            if member.locator is not None:
                named.shape, named.dtype = member.locator.shape, member.locator.dtype
        named.error = member.error
        records.append(named)
    return records


def load_values(locator: Locator) -> Values:
    """Raw elements of a tensor that only torch can read; `locator.key` is its number."""
    from .torch_client import load_tensor

    return load_tensor(locator)


def read_members(path: str) -> list[Member]:
    """The tensors of a file, in order. Raises `RecordError`, `OSError`."""
    try:
        return _read(path)
    except NeedsTorchError:
        pass
    try:
        return _read_by_torch(path)
    except RecordError:
        # What torch refuses may be one object among many; the rest can be had without it.
        members = _read_leniently(path)
        if not any(member.locator is not None for member in members):
            raise
        return members


def _read_leniently(path: str) -> list[Member]:
    try:
        return _read(path, lenient=True)
    except (RecordError, NeedsTorchError):
        return []


def _unwrapped(members: list[Member]) -> list[Member]:
    """Without the key of a checkpoint that the state dict stands under: `{"model": {...}}`."""
    for key in _WRAPPERS:
        inside = [member.keys for member in members if member.keys[:1] == (key,)]
        names = {keys[1] for keys in inside if len(keys) == 2}
        if inside and len(names) == len(inside) and any("." in name for name in names):
            others = {member.keys[0] for member in members if member.keys[:1] != (key,)}
            if not names & others:
                return [
                    replace(member, keys=member.keys[1:]) if member.keys[0] == key else member
                    for member in members
                ]
    return members


_WRAPPERS = ("model", "state_dict", "model_state_dict", "module", "net", "params")


def _read(path: str, lenient: bool = False) -> list[Member]:
    with open_file(path) as file:
        start = file.read_at(0, len(LEGACY))
        if not start.startswith(b"PK"):
            if start == LEGACY:
                raise NeedsTorchError("the format from before torch 1.6")
            if start[:1] == b"\x80":
                return _plain_pickle(path)
            raise RecordError("not a torch file: neither a zip nor the older format")
        return members_in(path, file, lenient)


def members_in(path: str, file: OpenFile, lenient: bool = False) -> list[Member]:
    """The tensors of the archive `file`, which `path` is or holds. Raises `RecordError`, `OSError`,
    and unless `lenient` `NeedsTorchError`.
    """
    archive = Archive(file)
    prefix = prefix_of(archive)
    _check_byte_order(archive, prefix)
    pickle, base = pickle_under(archive, prefix)
    found = tensor_pickle.read_tensors(pickle, lenient=lenient)
    return [
        _member(path, archive, prefix, keys, leaf, base, index)
        for index, (keys, leaf) in enumerate(found)
    ]


def _plain_pickle(path: str) -> list[Member]:
    """What some save by `pickle.dump` under this name."""
    data, at = pickle_of(path)
    found = tensor_pickle.read_tensors(data, at, lenient=True)
    members: list[Member] = []
    for index, (keys, leaf) in enumerate(found):
        try:
            members.append(Member(keys, locate(path, data, leaf, index)))
        except RecordError as error:
            members.append(Member(keys, None, str(error)))
    return members


def _check_byte_order(archive: Archive, prefix: str) -> None:
    entry = archive.entries.get(f"{prefix}byteorder")
    if entry is not None and archive.read(entry, 16).strip() != b"little":
        raise RecordError("written on a big-endian machine, which is not read")


def _member(
    path: str, archive: Archive, prefix: str, keys: tuple[str, ...], leaf: object,
    base: int | None, index: int,
) -> Member:  # fmt: skip
    if not isinstance(leaf, Tensor):
        return _array_member(path, keys, leaf, base, index)
    try:
        if not isinstance(leaf.storage, Storage):
            raise RecordError("damaged torch file: a storage inside its pickle")
        entry = archive.entries.get(f"{prefix}data/{leaf.storage.key}")
        if entry is None:
            raise RecordError("damaged torch file: a tensor's storage is missing")
        return Member(keys, _locate(path, archive, entry, leaf, leaf.storage))
    except RecordError as error:
        return Member(keys, None, str(error))


def _array_member(
    path: str, keys: tuple[str, ...], leaf: object, base: int | None, index: int
) -> Member:
    """A numpy array in the pickle itself, or what is refused in its place."""
    if isinstance(leaf, Refused):
        return Member(keys, None, leaf.why)
    if not isinstance(leaf, Array):
        return Member(keys, None, "a tensor whose values are nowhere in the file")
    try:
        return Member(keys, locate_array(path, leaf, base, index))
    except RecordError as error:
        return Member(keys, None, str(error))


def _locate(path: str, archive: Archive, entry: Entry, tensor: Tensor, storage: Storage) -> Locator:
    itemsize = DTYPES[tensor.dtype].itemsize
    shape = checked_shape(tensor.shape, itemsize)
    strides = checked_strides(tensor.strides, shape)
    if entry.method != STORED or entry.packed != entry.size:
        raise RecordError("compressed by another program: torch.save stores tensors as they are")
    width = DTYPES[storage.dtype].itemsize if storage.dtype else 1
    if storage.elements * width != entry.size:
        raise RecordError(
            f"damaged torch file: a storage of {storage.elements * width} bytes promised, "
            f"the file holds {entry.size}"
        )
    last = tensor.offset + reach(shape, strides)
    if tensor.offset < 0 or (0 not in shape and last * itemsize > entry.size):
        raise RecordError("damaged torch file: a tensor reaches beyond its storage")
    refuse_bomb(prod(shape) * itemsize, archive.size)
    offset = archive.data_offset(entry) + (tensor.offset * itemsize if prod(shape) else 0)
    return Locator(path, tensor.dtype, shape, offset, strides)


def _read_by_torch(path: str) -> list[Member]:
    from .torch_client import list_tensors

    if not storage_of(path).local:
        raise RecordError("only torch reads files of this kind, on the machine where they are")
    return [
        Member(
            tuple(tensor.keys),
            None
            if tensor.error
            else Locator(
                path, tensor.dtype, tensor.shape, reader="torch", key=json.dumps(tensor.index)
            ),
            tensor.error,
        )
        for tensor in list_tensors(path)
    ]
