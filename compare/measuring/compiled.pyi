"""What the compiled pass (`c/module.c`) offers; `fused` is the way to it."""

from ...capture.values import Array
from .fused import Greatest, Moment, Side

interface: int

def sums(
    x: Array, kind_x: str, table_x: Array, y: Array, kind_y: str, table_y: Array,
    rtol: float, atol: float, max_abs: float, max_rel: float, instructions: str | None,
    /,
) -> tuple[Moment, Side, Side, Greatest, Greatest, float, int, int, bool] | None: ...  # fmt: skip
def sums_of_files(
    file_x: int, offset_x: int, kind_x: str, table_x: Array,
    file_y: int, offset_y: int, kind_y: str, table_y: Array,
    count: int, room: Array, seconds: float,
    rtol: float, atol: float, before: tuple[object, ...] | None, instructions: str | None,
    /,
) -> tuple[Moment, Side, Side, Greatest, Greatest, float, int, int, bool] | None: ...  # fmt: skip
def weigh(
    raw: Array, kind: str, table: Array, x: Array, means: Array,
    value: Array, by_channel: Array, by_input: Array,
    rows: int, inside: int, telling: int, step: int, instructions: str | None,
    /,
) -> None: ...  # fmt: skip
def even(
    x: Array, y: Array, rows: int, channels: int, cut: int, fewest: int, pieces: int,
    limits: tuple[float, float, float, float], room: Array,
    by_row: Array, by_channel: Array, by_group: Array, plain: Array,
    instructions: str | None,
    /,
) -> None: ...  # fmt: skip
def fits(
    by_row: Array, by_channel: Array, by_group: Array,
    rows: int, channels: int, groups: int, group_size: int,
    slopes_of_rows: bool, of_channels: bool, long_from: int, limits: tuple[float, float, float],
    room: Array, out: Array, instructions: str | None,
    /,
) -> None: ...  # fmt: skip
def saturated(
    x: Array, y: Array, ends: tuple[float, ...], beyond: float, instructions: str | None, /
) -> int: ...
def read_runs(
    file: int, offset: int, kind: str, table: Array, runs: Array, room: Array, out: Array,
    instructions: str | None,
    /,
) -> None: ...  # fmt: skip
def same_bytes(
    file_x: int, offset_x: int, file_y: int, offset_y: int, count: int, room: Array, /
) -> bool: ...
def rounded(
    values: Array, size: int, kept: int, into: Array, instructions: str | None, /
) -> None: ...
def kth(values: Array, k: int, instructions: str | None, /) -> float: ...
def structure_of_files(
    file_x: int, offset_x: int, kind_x: str, table_x: Array,
    file_y: int, offset_y: int, kind_y: str, table_y: Array,
    runs: Array, pieces: Array, rows: int, channels: int, even: tuple[int, int, int],
    limits: tuple[float, float, float, float], fits: tuple[bool, bool, int],
    of_fits: tuple[float, float, float], rest: tuple[int, bool, int, float, float],
    room: Array, instructions: str | None,
    /,
) -> tuple[
    tuple[float, ...],
    tuple[float, tuple[float, ...], int, tuple[int, int], tuple[int, int]] | None,
]: ...  # fmt: skip
def room_of_structure(rows: int, channels: int, pieces: int, step: int, /) -> int: ...
def mantissa_bits(values: Array, /) -> int: ...
def distinct(values: Array, kept: int, /) -> int: ...
def divergence(
    x: Array, kind_x: str, table_x: Array, y: Array, kind_y: str, table_y: Array,
    rows: int, out: Array, instructions: str | None,
    /,
) -> None: ...  # fmt: skip
def instructions() -> list[str]: ...
