"""The same token ids for two frameworks: made once, from the reference's tokenizer."""

from __future__ import annotations

from dataclasses import replace

from .checkpoint import load_config
from .model_inputs import make_rows
from .run_plan import Plan


def fix_input(plan: Plan) -> Plan:
    """`plan` with the token ids of every case written out. Raises `CaptureError`."""
    config = load_config(plan)
    cases = tuple(replace(case, ids=make_rows(case, plan, config)) for case in plan.cases)
    return replace(plan, cases=cases)
