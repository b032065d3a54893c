"""The same token ids for two frameworks: made once, from the reference's tokenizer, or taken from a
capture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .checkpoint import load_config
from .model_inputs import make_rows
from .run_plan import Plan


def fix_input(plan: Plan) -> Plan:
    """`plan` with the token ids of every case written out. Raises `CaptureError`."""
    config = load_config(plan)
    cases = tuple(replace(case, ids=make_rows(case, plan, config)) for case in plan.cases)
    return replace(plan, cases=cases)


def on_ids(plan: Plan, ids: Sequence[Sequence[Any]], prompt: str | None) -> Plan:
    """The plan of one case, on the rows of `ids`; `prompt` is the text that they are of."""
    (case,) = plan.cases
    rows = tuple(tuple(int(number) for number in row) for row in ids)
    return replace(plan, cases=(replace(case, ids=rows, prompt=prompt),))
