"""`open_weights`: the tensors of a Hugging Face directory or of one file, none of them loaded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..dtypes import BY_SAFETENSORS
from ..errors import CaptureError, RecordError
from ..formats import safetensors_file
from ..formats.pickles import torch_file
from ..plurals import counted
from ..records import Locator
from .files import Layout, find_model, layout_of, read_config
from .gguf_config import gguf_config
from .gguf_weights import named_tensors
from .parameters import Parameter, Weights

# Where training programs put the weights of a model beside other things they save.
_STATES = frozenset({"model", "module", "state_dict", "model_state_dict"})


def open_weights(path: str | os.PathLike[str]) -> Weights:
    """List the tensors of the checkpoint `path`: a Hugging Face directory, the id of a model in
    the hub's local cache, or one file of safetensors or torch. No values are read.

    Raises `CaptureError`, one line for the user, when there are no weights, or they are damaged.
    """
    given = os.fspath(path)
    place = find_model(given)
    listing = _Listing(layout_of(place))
    for file in listing.layout.files:
        listing.add(file)
    listing.check_index(place)
    if not listing.parameters:
        raise CaptureError(f"{given}: holds no tensor that can be read")
    config = read_config(place) or listing.config
    return Weights(given, listing.parameters, config, tuple(listing.notes()))


@dataclass(slots=True)
class _Listing:
    """The tensors found so far; `unread` says of the others of each kind which they are."""

    layout: Layout
    parameters: dict[str, Parameter] = field(default_factory=dict)
    unread: dict[str, list[str]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)  # of a file that has its own

    def add(self, file: str) -> None:
        """Raises `CaptureError` for a damaged file; a tensor that is whole, but of a kind that is
        not read, is passed over.
        """
        readers = {".safetensors": self._of_safetensors, ".gguf": self._of_gguf}
        reader = readers.get(os.path.splitext(file)[1], self._of_torch)
        base = os.path.basename(file)
        try:
            for name, locator in reader(file):
                if self.layout.mapped.get(name, base) != base:
                    continue  # the index takes it from another file
                if name in self.parameters:
                    raise RecordError(f"a second tensor with the name {_shown(name)}")
                self.parameters[name] = Parameter(name, locator)
        except RecordError as error:
            raise CaptureError(f"{file}: {error}") from error
        except OSError as error:
            raise CaptureError(f"{file}: cannot be read: {error.strerror or error}") from error

    def check_index(self, place: str) -> None:
        """Raises `CaptureError` for a tensor that the index promises and no file has."""
        passed_over = {name for names in self.unread.values() for name in names}
        known = self.parameters.keys() | passed_over
        missing = [name for name in self.layout.mapped if name not in known]
        if missing:
            raise CaptureError(
                f"{place}: damaged: its index lists {counted(len(missing), 'tensor')} that no file "
                f"has, such as {_shown(missing[0])}"
            )

    def notes(self) -> Iterator[str]:
        """What was passed over, a sentence a kind."""
        for why, names in self.unread.items():
            count = f"{len(names)} tensors" if len(names) > 1 else "a tensor"
            yield f"{count} skipped ({why}), such as {_shown(names[0])}"

    def _of_safetensors(self, file: str) -> Iterator[tuple[str, Locator]]:
        header = safetensors_file.read_file_header(file)
        for name, place in safetensors_file.locate_all(header).items():
            if isinstance(place, Locator):
                yield name, place
                continue
            entry = header.tensors[name]
            code = entry.get("dtype") if isinstance(entry, dict) else None
            if type(code) is not str or code in BY_SAFETENSORS:
                raise RecordError(f"{_shown(name)}: {place}")
            self.unread.setdefault(str(place), []).append(name)

    def _of_gguf(self, file: str) -> Iterator[tuple[str, Locator]]:
        self.config = gguf_config(file)
        for name, place in named_tensors(file):
            if isinstance(place, Locator):
                yield name, place
            else:
                self.unread.setdefault(place, []).append(name)

    def _of_torch(self, file: str) -> Iterator[tuple[str, Locator]]:
        members = torch_file.read_members(file)
        state = _state_key(member.keys for member in members)
        for member in members:
            whole = ".".join(member.keys)
            if state and member.keys[0] != state:
                self.unread.setdefault(f"not below {state!r}", []).append(whole)
                continue
            name = whole.removeprefix(f"{state}.")
            if member.locator is None:
                raise RecordError(f"{_shown(name)}: {member.error}")
            yield name, member.locator


def _shown(name: str) -> str:
    """A name that a file has, fit for a line of text."""
    return "".join(c if c.isprintable() else "?" for c in name[:200])


def _state_key(paths: Iterable[tuple[str, ...]]) -> str | None:
    """`state_dict` where a training program saved the weights under that key."""
    found = {path[0] for path in paths if len(path) > 1} & _STATES
    return found.pop() if len(found) == 1 else None
