"""What `polygraphy run --save-outputs` writes: JSON with arrays as base64 of `.npy` files.

    {"lst": [[RUNNER, [{"outputs": {NAME: {"values": {"array": BASE64}}}}, ...]]]}

Every iteration is a step. Names are those of the ONNX graph, in its order. Several runners may
stand in one file: those after the first go before the names of their tensors.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import RecordError
from ...files import FoundFile
from ...records import Locator, Record
from ...storage import first_bytes
from ..context import Context
from ..members import named_record
from ..npy_header import Header, parse_header
from ..numpy_file import array_of
from ..text.json_text import parsed, plain_text

if TYPE_CHECKING:
    from ...values import Array

_PEEK = 1 << 16
_HEADER = 1 << 12  # characters of base64 that hold a usual header


def recognise(found: FoundFile, context: Context) -> bool:
    """JSON with `lst`, `outputs` and `array` near its beginning."""
    if found.problem is not None:
        return False
    try:
        head = first_bytes(found.path, _PEEK)
    except OSError:
        return False
    return all(word in head for word in (b'"lst"', b'"outputs"', b'"array"'))


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """A record for each output of each iteration. Raises `RecordError`, `OSError`."""
    from .onnx_names import name_values

    records: list[Record] = []
    runners: list[str] = []
    for output in _outputs(found.path):
        if output.runner not in runners:
            runners.append(output.runner)
        first = output.runner == runners[0]
        name = output.name if first else f"{output.runner}/{output.name}"
        record = named_record(found, name)
        record.module, record.slot, record.call = name, "value", 1
        record.step, record.key = output.step, output.key
        try:
            header = _header(output.array)
            record.dtype, record.shape = header.dtype, header.shape
            locator = Locator(found.path, header.dtype, header.shape, reader="polygraphy",
                              key=output.key)  # fmt: skip
            record.locator = locator
        except RecordError as error:
            record.error = str(error)
        records.append(record)
    if not records:
        raise RecordError("holds no outputs")
    if len(runners) > 1:
        context.notes.append(
            f"{found.name}: {len(runners)} runners, {', '.join(runners)}; the tensors of the first "
            "go by their plain names"
        )
    return name_values(records, found.folder, context)


def read_header(record: Record) -> list[Record]:
    """Nothing is left to do: `list_records` gives complete records."""
    return [record]


def load_values(locator: Locator) -> Array:
    """One array, decoded. Raises `RecordError`, `OSError`."""
    output = next((o for o in _outputs(locator.path) if o.key == locator.key), None)
    if output is None:
        raise RecordError("the file has changed since it was listed")
    return array_of(_decoded(output.array), locator)


class _Output(NamedTuple):
    runner: str
    step: int
    name: str
    array: Any
    key: str


def _outputs(path: str) -> Iterator[_Output]:
    root = parsed(path)
    runs = root.get("lst") if isinstance(root, dict) else None
    if not isinstance(runs, list):
        raise RecordError("not results of Polygraphy: no list of runners")
    for number, run in enumerate(runs):
        if not isinstance(run, list) or len(run) != 2 or not isinstance(run[1], list):
            raise RecordError("damaged results: a runner without iterations")
        for step, iteration in enumerate(run[1]):
            outputs = iteration.get("outputs") if isinstance(iteration, dict) else None
            if not isinstance(outputs, dict):
                raise RecordError("damaged results: an iteration without outputs")
            for name, value in outputs.items():
                key = json.dumps([number, step, name])
                yield _Output(plain_text(run[0]), step, plain_text(name), _array_of(value), key)


def _array_of(value: Any) -> Any:
    """The text with the array; None where there is none."""
    for _ in range(3):
        if not isinstance(value, dict):
            return None
        if isinstance(value.get("array"), str):
            return value["array"]
        value = value.get("values")
    return None


def _header(array: Any) -> Header:
    """What the array's header says, checked against the length of the text."""
    if not isinstance(array, str):
        raise RecordError("not a numpy array")
    header = parse_header(_decoded(array[:_HEADER]))
    if header.data + header.nbytes > len(array) * 3 // 4:
        raise RecordError(f"truncated: {header.nbytes} bytes promised, fewer are there")
    return header


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RecordError("damaged results: an array is not base64") from error
