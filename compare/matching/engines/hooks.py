"""Dumpers that name modules as torch does, with words of their own around them."""

from __future__ import annotations

from .names import EngineNames

MSPROBE = EngineNames(
    "msprobe",
    signs=((r"^Module\..+\.\w+\.(?:forward|backward)\.\d+\.(?:input|output|kwargs)",),),
    paths=((r"^(?:Module\.)?(?P<module>.+)\.[A-Z]\w*\.forward(?:\.\d+)?$", r"\g<module>"),),
)
