"""What the laws found of a pair of captures, remembered on disk like measurements.

The key is made of both captures' records, the recipes, the checkpoints' files and the version of
the laws: whatever of these changes, everything is worked out again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ...capture.storage import storage_of
from ..aligned import side_task
from ..laws.peers import Limits
from ..laws.report import LawReport, LawRow
from ..model import Cause, Local
from ..recipes.errors import RecipeError
from .cache import FileIdentities, TextCache

if TYPE_CHECKING:
    from ..aligned import Aligned
    from ..weights.models import Models

LAWS_VERSION = 12  # raise when a law, a limit or a cause changes


@dataclass(frozen=True, slots=True)
class LawCache:
    """One report under one key."""

    key: str

    @staticmethod
    def of(aligned: Aligned, models: Models) -> LawCache | None:
        """None where a file, or a recipe, cannot be read: then nothing is remembered."""
        digest = blake2b(digest_size=24)
        digest.update(repr(("laws", LAWS_VERSION)).encode())
        identities = FileIdentities()
        try:
            for row in aligned.rows:
                digest.update(repr((row.kind, row.label, row.step, row.problem)).encode())
                for record, recipe, capture in (
                    (row.reference, row.recipe_reference, aligned.reference),
                    (row.candidate, row.recipe_candidate, aligned.candidate),
                ):
                    if record is not None and record.locator is not None:
                        task = side_task(record, recipe, capture.records)
                        identities.feed(digest, task)
            for weights in (models.reference, models.candidate):
                if weights is not None:
                    _feed_weights(digest, weights.parameters, weights.config)
        except (OSError, RecipeError):
            return None
        return LawCache(digest.hexdigest())

    def get(self) -> LawReport | None:
        """What is remembered; None where there is nothing, or it is of another make."""
        with TextCache("laws") as cache:
            text = cache.get(self.key)
        return None if text is None else decoded(text)

    def put(self, report: LawReport) -> None:
        with TextCache("laws") as cache:
            cache.put(self.key, encoded(report))


def _feed_weights(digest: blake2b, parameters: Any, config: Any) -> None:
    files: dict[str, tuple[object, ...]] = {}
    for name in sorted(parameters):
        locator = parameters[name].locator
        if locator.path not in files:
            status = storage_of(locator.path).status(locator.path)
            if status is None:
                raise FileNotFoundError(locator.path)
            files[locator.path] = status.identity
        digest.update(repr((name, locator, files[locator.path])).encode())
    digest.update(repr(sorted(config.items(), key=lambda item: str(item[0]))).encode())


def encoded(report: LawReport) -> str:
    """A report as lines of JSON, the notes and then the rows (with Python's words for NaN and
    infinity): a line at a time, so that other threads have a turn.
    """
    lines = [json.dumps(report.notes)]
    lines += [json.dumps(asdict(row)) for row in report.rows.values()]
    return "\n".join(lines)


def decoded(text: str) -> LawReport | None:
    """A report from its stored form; None when it is of another make."""
    try:
        first, *lines = text.split("\n")
        notes = json.loads(first)
        rows = [_row(json.loads(line)) for line in lines]
        known = isinstance(notes, list)
        return LawReport({row.row: row for row in rows}, tuple(notes)) if known else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _row(data: dict[str, Any]) -> LawRow:
    if set(data) != {f.name for f in fields(LawRow)}:
        raise ValueError("another version")
    causes = data["causes"]
    data["local"] = Local(**data["local"])
    data["causes"] = None if causes is None else tuple(Cause(**cause) for cause in causes)
    data["limits"] = None if data["limits"] is None else Limits(**data["limits"])
    for name in ("relative", "derived", "sampled"):
        data[name] = tuple(data[name])
    data["parameters"] = tuple((str(a), str(b)) for a, b in data["parameters"])
    return LawRow(**data)
