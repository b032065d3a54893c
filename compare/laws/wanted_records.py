"""Which records a dump would have to have for a layer to be checked against its law."""

from __future__ import annotations

from collections.abc import Sequence

from ..matching.names.canonical import parent_of
from ..matching.names.roles import is_projection, role_of
from ..model import Row


def records_wanted(rows: Sequence[Row], row: Row) -> list[str]:
    """Why no law was tried on a row, and what to capture to make that possible."""
    module = row.canonical
    record = row.reference or row.candidate
    role = role_of(module, record.module_class if record is not None else None)
    if row.kind != "pair":
        side = "candidate" if row.kind == "gap_reference" else "reference"
        return [f"no law was tried: the {side} does not record {row.label}"]
    if row.problem is not None:
        return [f"no law was tried: {row.problem}"]
    missing = _missing_inputs(rows, row, role)
    if missing:
        wanted = ", ".join(missing)
        return [f"no law was tried: its inputs are not recorded; capture {wanted} on both sides"]
    if is_projection(role):
        return ["no law was tried: the weights of this module are not known"]
    if row.role == "input":
        return [f"no law was tried: it is an input, computed by the code of {parent_of(module)}"]
    return [f"no law is known for this module ({role})"]


def _missing_inputs(rows: Sequence[Row], row: Row, role: str) -> list[str]:
    """Records of the module's own input that one side lacks."""
    if row.role != "output" or role in ("layer", "root", "attention", "mlp"):
        return []
    own = [r for r in rows if r.canonical == row.canonical and r.step == row.step]
    if any(r.role == "input" and r.kind == "pair" for r in own):
        return []
    return [f"the input of {row.canonical}"]
