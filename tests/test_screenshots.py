"""The pictures that README and manual show are those that the scripts make."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

PICTURES = Path(__file__).parent.parent / "screenshots"
SVG = "{http://www.w3.org/2000/svg}"


def test_the_tour_has_a_frame_for_each_of_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyte")
    monkeypatch.syspath_prepend(str(PICTURES))
    import record  # pyright: ignore[reportMissingImports]

    monkeypatch.delitem(sys.modules, "record")
    root = ElementTree.fromstring((PICTURES / "tour.svg").read_text(encoding="utf-8"))
    frames = [group for group in root.findall(f"{SVG}g") if group.get("id", "").startswith("f")]
    captions = [(frame.findall(f"{SVG}text")[-1].text or "") for frame in frames]
    assert captions == [caption for _, _, caption in record.TOUR]
    assert all(len(frame.findall(f"{SVG}use")) > 10 for frame in frames)
    assert 20 <= sum(seconds for _, seconds, _ in record.TOUR) <= 60


def test_lines_are_stored_once_and_shown_by_every_frame_that_has_them() -> None:
    pytest.importorskip("pyte")
    sys.path.insert(0, str(PICTURES))
    try:
        import record  # pyright: ignore[reportMissingImports]
    finally:
        sys.path.remove(str(PICTURES))
        sys.modules.pop("record", None)
    same, other = '<text x="0" y="13">a &amp; b</text>', '<text x="0" y="13">c</text>'
    svg = record.animated([("one", 1.0, [same]), ("two", 3.0, [same, other])])
    root = ElementTree.fromstring(svg)
    assert svg.count("a &amp; b") == 1
    assert [len(g.findall(f"{SVG}use")) for g in root.findall(f"{SVG}g")] == [1, 2]
    assert "25.00%,99.99%{visibility:visible}" in svg
