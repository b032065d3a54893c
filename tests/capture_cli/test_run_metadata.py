"""`layertui.json` beside MAX's files: read when it is sound, passed over when it is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from layertui.capture import open_capture
from layertui.capture.run_metadata import METADATA, SCHEMA, is_ours, write_metadata

FIELDS = {
    "framework": "max", "framework_version": "26.7.0", "model": "a/model", "device": "cpu",
    "prompt": "grüße", "input_ids": [[1, 2]], "complete": True, "notes": ["patched: a thing"],
}  # fmt: skip


@pytest.fixture
def dump(real: Path, tmp_path: Path) -> Path:
    """A capture by MAX that may be changed."""
    copied = tmp_path / "dump"
    shutil.copytree(real / "llama-f32" / "max_dump", copied)
    return copied


def test_fields_reach_the_capture(dump: Path) -> None:
    records = len(open_capture(dump).records)
    write_metadata(str(dump), FIELDS)
    opened = open_capture(dump)
    assert (opened.framework, opened.framework_version) == ("max", "26.7.0")
    assert (opened.model, opened.device, opened.prompt) == ("a/model", "cpu", "grüße")
    assert opened.input_ids == [[1, 2]]
    assert opened.complete is True
    assert "patched: a thing" in opened.notes
    assert len(opened.records) == records


def test_a_run_that_did_not_finish_says_so(dump: Path) -> None:
    write_metadata(str(dump), {**FIELDS, "complete": False})
    opened = open_capture(dump)
    assert opened.complete is False
    assert any(note.startswith("incomplete") for note in opened.notes)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schema": "other/1", "prompt": "no"}',
        b"[" * 100_000, b'{"schema": "layertui.capture/1", "prompt": "\\ud800"}',
    ],
    ids=["empty", "cut", "list", "null", "binary", "foreign", "deep", "half-character"],
)  # fmt: skip
def test_what_is_not_ours_is_passed_over(dump: Path, content: bytes) -> None:
    (dump / METADATA).write_bytes(content)
    opened = open_capture(dump)
    assert opened.prompt is None
    assert opened.complete is None
    assert not is_ours(str(dump))


@pytest.mark.parametrize("value", [3, ["x"], {"a": 1}, None, True])
def test_values_of_the_wrong_kind_are_passed_over(dump: Path, value: object) -> None:
    content = {"schema": SCHEMA, "prompt": value, "input_ids": "1,2", "notes": value,
               "complete": "yes"}  # fmt: skip
    (dump / METADATA).write_text(json.dumps(content))
    opened = open_capture(dump)
    assert opened.prompt is None
    assert opened.input_ids is None
    assert opened.complete is None
    assert all(isinstance(note, str) for note in opened.notes)


def test_a_link_is_not_followed(dump: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    write_metadata(str(outside), FIELDS)
    (dump / METADATA).symlink_to(outside / METADATA)
    assert open_capture(dump).prompt is None
