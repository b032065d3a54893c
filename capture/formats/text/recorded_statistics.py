"""Files of statistics in place of values: JSON, tables with headings, and lines of logs.

{"layers.0.mlp": {"shape": [1, 8, 32], "mean": 0.1, "std": 1.2}, ...}
name,shape,mean,std,min,max
layers.0.mlp: mean=0.1, std=1.2, min=-3.4, max=5.6
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from ...errors import RecordError
from ...files import FoundFile
from ...records import Record
from ...storage import first_bytes, open_text
from ..context import Context
from ..members import named_member, named_record, place_members
from . import statistics_json, statistics_log, statistics_table
from .console_log import CallNumbers, numbered, prints_tensors
from .json_text import parsed
from .statistic_words import MOST_RECORDS, TELLING, Described, record_of, rounding_of
from .whose_statistics import are_of_tensors

_PEEK = 1 << 16
_LONGEST_LINE = 1 << 16
_JSON = (".json", ".jsonl", ".ndjson")
_TABLES = (".csv", ".tsv")
_SAYS = re.compile(
    rb'"(?:abs_?)?(?:mean|avg|average|std|stdev|stddev|var|variance|min|max|minimum|maximum|norm|l2'
    rb'|l2_?norm|rms|absmax|max_?abs|sum)"\s*:',
    re.IGNORECASE,
)  # fmt: skip
_SETTINGS = re.compile(r"(?:^|[/._-])(?:config|tokenizer\w*|vocab|preprocessor\w*)$")
_VALUES = re.compile(
    r"(?:values?|data|tensors?|arrays?|outputs?|activations?)", re.IGNORECASE
)  # fmt: skip
# What stands beside the times of a benchmark, and not beside statistics of tensors.
_MEASURES = re.compile(
    rb'"(?:units?|rounds|iterations|iters|repeats|ops|iqr|warmups?|throughput|latency\w{0,20}'
    rb'|duration\w{0,20}|seconds|\w{1,40}_(?:ms|us|ns|secs?|seconds))"\s*:',
    re.IGNORECASE,
)
_FEW = 64  # entries by which a file is judged


def recognise(found: FoundFile, context: Context) -> bool:
    """A file that says statistics of tensors and holds no values."""
    if found.problem is not None:
        return False
    try:
        head = first_bytes(found.path, _PEEK)
        if found.suffix in _JSON:
            return _is_json_of_statistics(found, head)
        if b"\0" in head:
            return False
        lines = head.decode("utf-8", "replace").splitlines()
        if found.suffix in _TABLES:
            first = next((line for line in lines if line.strip() and line[0] != "#"), "")
            return statistics_table.heading_of(first) is not None
        return _is_log_of_statistics(found, lines)
    except OSError:
        return False


def set_aside(found: FoundFile) -> str | None:
    """Statistics among tensor files are not needed; that they are not read is said."""
    return f"{found.name}: its statistics are passed over, tensor files are here"


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """A record for each tensor that the file describes, in its order. Raises `RecordError`,
    `OSError`.
    """
    described = list(islice(_described(found), MOST_RECORDS + 1))
    if len(described) > MOST_RECORDS:
        raise RecordError(f"statistics of more than {MOST_RECORDS} tensors")
    if not described:
        raise RecordError("holds no statistics")
    rounding = rounding_of(described)
    placed = place_members([each.keys for each in described], [each.step for each in described])
    plain = named_record(found, found.stem)
    calls = CallNumbers()
    is_log = found.suffix not in (*_JSON, *_TABLES)
    records: list[Record] = []
    for each, (key, step) in zip(described, placed, strict=True):
        name = each.keys[-1] if is_log and len(each.keys) == 1 else key
        single = len(described) == 1
        record = named_member(
            plain, name, None, alone=context.alone or is_log, single=single, step=step
        )
        if not each.keys:  # of the only tensor there is: the file names it
            record = replace(plain)
        record.key = key or "0"
        if is_log:
            record = numbered(record, calls)
        records.append(record_of(record, each, rounding))
    if is_log:
        context.ordered.add(found.path)
        context.metadata["order_source"] = "order of the log"
    return records


def read_header(record: Record) -> list[Record]:
    """Nothing is left to do: `list_records` gives complete records."""
    return [record]


def _described(found: FoundFile) -> Iterator[Described]:
    if found.suffix in _JSON:
        root = parsed(found.path, found.suffix != ".json")
        yield from statistics_json.described_in(root, MOST_RECORDS + 1)
        return
    with open_text(found.path) as file:
        lines = iter(lambda: file.readline(_LONGEST_LINE), "")
        if found.suffix in _TABLES:
            yield from statistics_table.described_in(lines)
        else:
            yield from statistics_log.described_in(lines, found.stem)


def _is_json_of_statistics(found: FoundFile, head: bytes) -> bool:
    if _SETTINGS.search(found.stem) or _SAYS.search(head) is None:
        return False
    try:
        root = parsed(found.path, found.suffix != ".json")
        few = statistics_json.described_in(root, _FEW)
    except RecordError:
        return True  # to be told when it is listed
    return are_of_tensors(few, _MEASURES.search(head) is not None) and not _holds_values(root)


def _holds_values(root: Any) -> bool:
    """True where lists of numbers stand that are no shape, and no sample beside statistics."""
    waiting: list[Any] = [root]
    for _ in range(MOST_RECORDS):
        if not waiting:
            return False
        node = waiting.pop()
        if isinstance(node, dict):
            for key, value in node.items():
                whole = isinstance(value, list) and (not value or _all_numbers(value))
                if whole and _VALUES.fullmatch(key) and not _sampled(node, value):
                    return True
                if isinstance(value, (dict, list)) and not whole:
                    waiting.append(value)
        elif isinstance(node, list):
            waiting.extend(item for item in node[:_FEW] if isinstance(item, (dict, list)))
    return False


def _all_numbers(values: list[Any]) -> bool:
    first = values[0]
    while isinstance(first, list) and first:
        first = first[0]
    return isinstance(first, (int, float)) and not isinstance(first, bool)


def _sampled(node: dict[str, Any], values: list[Any]) -> bool:
    """True for a flat list that is shorter than the shape beside it."""
    shape = node.get("shape")
    if not isinstance(shape, list) or not values:
        return False
    total = 1
    for size in shape:
        total *= size if type(size) is int and 0 <= size < 1 << 40 else 0
    return not any(isinstance(value, list) for value in values) and len(values) < total


def _is_log_of_statistics(found: FoundFile, lines: list[str]) -> bool:
    if not any(statistics_log.statistics_of(line)[0].keys() & TELLING for line in lines):
        return False
    return not prints_tensors(found.path)
