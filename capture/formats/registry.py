"""The formats that are read: those of layertui in one table, those of other packages beside it.

Another package adds a format by an entry point of the group `layertui.formats` that names a
`Format`:

    [project.entry-points."layertui.formats"]
    toy = "toy_package.toy_format:FORMAT"

It is looked for only when a file turns up that no format of the table claims, or a record that none
of their readers reads: looking through all installed packages takes as long as all the rest.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from .format import Format

GROUP = "layertui.formats"
_HERE = "layertui.capture.formats."

NATIVE = Format(
    "layertui capture", _HERE + "native", 10, (".jsonl", ".safetensors"), looks=True,
    known_as="manifest.jsonl", self_contained=True,
)  # fmt: skip

# The manifest claims its shards before the general safetensors reader sees them. Raw files have no
# mark of their own: a log or `--raw` names them.
FORMATS: tuple[Format, ...] = (
    Format("Zarr", _HERE + "packages.zarr_store", 5, looks=True, reader="zarr", known_as="Zarr",
           places=r"zarr\.json$|[/\\]\d+(?:\.\d+)*$"),
    NATIVE,
    Format("transformers tree", _HERE + "tools.transformers_tree", 12, (".json", ".safetensors"),
           looks=True, reader="debug tree", partial=True, known_as="transformers' debug trees"),
    Format("msprobe dump", _HERE + "tools.msprobe_dump", 14, (".json", ".pt", ".npy"), looks=True,
           known_as="msprobe's dumps", places=r"dump\.json$|dump_tensor_data"),
    Format("MAX checkpoint", _HERE + "max_checkpoint", 20, (".max",), framework="max"),
    Format("SGLang dump", _HERE + "tools.sglang_dump", 25, (".pt",), looks=True, framework="torch",
           known_as="SGLang's dumps", keeps_order=True, places=r"dump_index=|Pass\d{5}"),
    Format("torch file", _HERE + "pickles.torch_file", 30, (".pt", ".pth"), reader="torch",
           framework="torch", keeps_order=True),
    Format("torch checkpoint", _HERE + "pickles.torch_checkpoint", 35, (".bin", ".ckpt"),
           looks=True, framework="torch", keeps_order=True),
    Format("pickle", _HERE + "pickles.pickle_file", 38, (".pkl", ".pickle"), reader="pickle",
           keeps_order=True),
    Format("numpy file", _HERE + "numpy_file", 40, (".npy", ".npz"), reader="npz",
           keeps_order=True),
    Format("safetensors", _HERE + "safetensors_file", 50, (".safetensors",)),
    Format("Flax msgpack", _HERE + "tools.flax_msgpack", 52, (".msgpack",), framework="jax",
           keeps_order=True),
    Format("GGUF", _HERE + "gguf_file", 54, (".gguf",), reader="gguf", framework="llama.cpp",
           keeps_order=True),
    Format("distributed checkpoint", _HERE + "pickles.distributed_checkpoint", 56, (".distcp",),
           reader="dcp", framework="torch", keeps_order=True),
    Format("HDF5", _HERE + "packages.hdf5_file", 57, (".h5", ".hdf5"), reader="hdf5"),
    Format("Parquet", _HERE + "packages.parquet_file", 59, (".parquet",), reader="parquet",
           keeps_order=True),
    Format("text dump", _HERE + "text.text_dump", 60, (".txt",), looks=True, reader="text",
           partial=True, known_as="text dumps"),
    Format("raw files with an index", _HERE + "raw_index", 62, looks=True, keeps_order=True,
           known_as="raw files that JSON describes"),
    Format("llama.cpp log", _HERE + "text.llama_log", 65, (".log", ".txt"), looks=True,
           reader="llama log", partial=True, known_as="llama.cpp's logs", only_alone=True),
    Format("statistics", _HERE + "text.recorded_statistics", 66,
           (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".log", ".txt", ".out"), looks=True,
           known_as="statistics in JSON, tables and logs", only_alone=True, keeps_order=True),
    Format("console log", _HERE + "text.console_log", 70, (".log", ".txt"), looks=True,
           reader="console", partial=True, known_as="logs", only_alone=True),
    Format("Polygraphy results", _HERE + "tools.polygraphy_json", 72, (".json",), looks=True,
           reader="polygraphy", known_as="Polygraphy's JSON", keeps_order=True),
    Format("number table", _HERE + "text.number_table", 75, (".csv", ".tsv", ".txt", ".dat"),
           looks=True, reader="table", known_as="tables of numbers", only_alone=True),
    Format("JSON numbers", _HERE + "text.number_json", 78, (".json", ".jsonl", ".ndjson", ".txt"),
           looks=True, reader="json", known_as="JSON", only_alone=True, keeps_order=True),
    Format("raw binary", _HERE + "raw_binary", 80, looks=True, after_logs=True),
)  # fmt: skip


class UnknownFormatError(LookupError):
    """No format of this name, or none that has this reader, is installed."""


@cache
def plug_ins() -> tuple[tuple[Format, ...], tuple[str, ...]]:
    """Formats of other packages in the order in which they are asked, and a sentence for the user
    for each that cannot be used. Never raises.
    """
    from importlib.metadata import entry_points

    found: list[Format] = []
    notes: list[str] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            found.append(_checked(entry.load(), [*FORMATS, *found]))
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}"[:300]
            notes.append(f"the format {entry.name!r} of another package cannot be used: {said}")
    return tuple(sorted(found, key=lambda format_: format_.order)), tuple(notes)


def _checked(format_: object, known: list[Format]) -> Format:
    if not isinstance(format_, Format):
        raise TypeError(f"{type(format_).__name__} is not a layertui.capture.formats.format.Format")
    for other in known:
        if format_.name == other.name or (format_.reader and format_.reader == other.reader):
            raise ValueError(f"its name or reader is that of {other.name!r}")
    if not format_.suffixes and not format_.looks:
        raise ValueError("it has no suffixes and no function to recognise files")
    return replace(format_, foreign=True)


def asked_in_order(after_logs: bool) -> tuple[Format, ...]:
    """The formats of the table in the order in which they are asked for a file."""
    asked = (format_ for format_ in FORMATS if format_.after_logs == after_logs)
    return tuple(sorted(asked, key=lambda format_: format_.order))


def format_named(name: str) -> Format:
    """The format that a record names. Raises `UnknownFormatError`."""
    for formats in (lambda: FORMATS, lambda: plug_ins()[0]):
        for format_ in formats():
            if format_.name == name:
                return format_
    raise UnknownFormatError(name)


def format_reading(reader: str) -> Format:
    """The format whose `load` reads locators of this `reader`. Raises `UnknownFormatError`."""
    for formats in (lambda: FORMATS, lambda: plug_ins()[0]):
        for format_ in formats():
            if reader and format_.reader == reader:
                return format_
    raise UnknownFormatError(reader)


def may_be_partial(reader: str) -> bool:
    """True when locators of this `reader` may lead to some of a tensor's elements only."""
    try:
        return format_reading(reader).partial
    except UnknownFormatError:
        return False


def named_by_file() -> tuple[str, ...]:
    """Suffixes of files whose names are those of records, or begin them."""
    return _suffixes(FORMATS)


def named_by_file_elsewhere() -> tuple[str, ...]:
    """The same of other packages' formats."""
    return _suffixes(plug_ins()[0])


def _suffixes(formats: tuple[Format, ...]) -> tuple[str, ...]:
    return tuple(suffix for format_ in formats if not format_.looks for suffix in format_.suffixes)


def known_kinds() -> str:
    """What is read, in words: `.max, .pt, ..., text dumps and logs`."""
    kinds: list[str] = []
    for format_ in FORMATS:
        kinds.extend([format_.known_as] if format_.known_as else format_.suffixes)
    return ", ".join(kinds[:-1]) + f" and {kinds[-1]}"
