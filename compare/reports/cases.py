"""Several cases in one file of text, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from . import CASES_SCHEMA, Part
from .escaping import clean


def said_of(part: Part) -> str:
    """`agrees`, `differs` or `not compared`."""
    if part.problem:
        return "not compared"
    return "agrees" if part.status == 0 else "differs"


def text_of_cases(parts: Sequence[Part]) -> str:
    """A section a case."""
    return "\n".join(_section(part) for part in parts)


def _section(part: Part) -> str:
    title = f"case {part.name}: {said_of(part)}"
    body = f"{clean(part.problem)}\n" if part.problem else part.text
    return f"{'=' * len(title)}\n{title}\n{'=' * len(title)}\n{body}"


def json_of_cases(parts: Sequence[Part], command: str) -> str:
    """`{"schema", "command", "cases": [{"case", "status", "report", "problem"}]}`."""
    cases = [
        {"case": part.name, "status": part.status,
         "report": None if part.problem else json.loads(part.text), "problem": part.problem}
        for part in parts
    ]  # fmt: skip
    content = {"schema": CASES_SCHEMA, "command": command, "cases": cases}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def csv_of_cases(parts: Sequence[Part]) -> str:
    """The tables below one another, with the case in a first column. A case that could not be
    compared is a line of the kind `not compared` with the reason.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    tables = {part.name: list(csv.reader(io.StringIO(part.text))) for part in parts}
    heading = next((table[0] for table in tables.values() if table), ["kind", "reason"])
    writer.writerow(["case", *heading])
    for part in parts:
        if part.problem:
            known = {"kind": "not compared", "reason": clean(part.problem)}
            writer.writerow([part.name, *(known.get(name, "") for name in heading)])
        writer.writerows([part.name, *line] for line in tables[part.name][1:])
    return out.getvalue()
