"""The file of notes: written by people and by the program, also by two at a time; not trusted."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertui.compare.notes.notes_file import LONGEST, NotesError, write_note
from layertui.compare.notes.places import FILE, note_files, notes_on

NORM = "layers.0.self_attn.q_norm-output"
MLP = "layers.1.mlp-output step 2"


@pytest.fixture
def reference(tmp_path: Path) -> str:
    (tmp_path / "torch_dump").mkdir()
    return str(tmp_path / "torch_dump")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / FILE


def put(reference: str, record: str, text: str, known: str = "", rules: str | None = None) -> None:
    write_note(note_files(reference, rules)[0], reference, record, text, known)


def test_notes_are_written_changed_and_taken_out(reference: str, file: Path) -> None:
    assert notes_on(reference).texts == {}
    assert not file.exists()
    put(reference, NORM, "eps is 1e-6 here")
    put(reference, MLP, 'says "so" — and more\n\ton  two lines')
    assert notes_on(reference).texts == {
        NORM: "eps is 1e-6 here", MLP: 'says "so" — and more on two lines',
    }  # fmt: skip
    put(reference, NORM, "it is 1e-5", "eps is 1e-6 here")
    assert notes_on(reference).texts[NORM] == "it is 1e-5"
    put(reference, NORM, "", "it is 1e-5")
    put(reference, MLP, "", notes_on(reference).texts[MLP])
    assert notes_on(reference).texts == {}
    assert 'schema = "layertui.notes/1"' in file.read_text()


def test_what_people_wrote_around_them_stays(reference: str, file: Path) -> None:
    file.write_text(
        '# mine\nschema = "layertui.notes/1"\nowner = "me"\n\n'
        f'[[note]]  # the first\nreference = "torch_dump"\nrecord = "{NORM}"\n'
        'text = "old"  # since May\nticket = 7\n\n'
        '# of another model\n[[note]]\nreference = "other/ref"\nrecord = "x"\ntext = "theirs"\n'
    )
    put(reference, MLP, "new")
    put(reference, NORM, "newer", "old")
    text = file.read_text()
    for kept in ("# mine", 'owner = "me"', "# of another model", 'text = "theirs"', "newer"):
        assert kept in text
    found = notes_on(reference)
    assert found.texts == {NORM: "newer", MLP: "new"}
    assert found.elsewhere == 1
    put(reference, NORM, "", "newer")
    assert "# of another model" in file.read_text()
    assert notes_on(reference).texts == {MLP: "new"}


def test_of_several_on_one_record_the_last_counts(reference: str, file: Path) -> None:
    note = f'[[note]]\nreference = "torch_dump"\nrecord = "{NORM}"\ntext = '
    file.write_text(f'schema = "layertui.notes/1"\n{note}"a"\n{note}"b"\n')
    assert notes_on(reference).texts == {NORM: "b"}
    put(reference, NORM, "c", "b")
    assert notes_on(reference).texts == {NORM: "c"}
    put(reference, NORM, "", "c")
    assert notes_on(reference).texts == {}


def test_they_lie_beside_the_rules_file_and_those_of_the_captures_are_read_too(
    reference: str, tmp_path: Path
) -> None:
    put(reference, NORM, "beside the captures")
    rules = tmp_path / "rules" / "mine.toml"
    rules.parent.mkdir()
    assert note_files(reference, str(rules))[0] == str(rules.parent / FILE)
    put(reference, MLP, "beside the rules", rules=str(rules))
    assert (rules.parent / FILE).is_file()
    found = notes_on(reference, str(rules))
    assert found.texts == {NORM: "beside the captures", MLP: "beside the rules"}
    assert found.places[NORM] == str(tmp_path / FILE)
    assert notes_on(reference).texts == {NORM: "beside the captures"}
    assert len(note_files(reference, str(tmp_path / "r.toml"))) == 1  # one folder, one file


def test_they_move_with_the_captures(reference: str, tmp_path: Path) -> None:
    put(reference, NORM, "x")
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    tmp_path.rename(moved)
    assert notes_on(str(moved / "torch_dump")).texts == {NORM: "x"}


def test_another_one_s_change_is_not_overwritten(reference: str, file: Path) -> None:
    put(reference, NORM, "mine")
    with pytest.raises(NotesError, match="the note was changed meanwhile: mine"):
        put(reference, NORM, "theirs")
    put(reference, NORM, "mine")  # the same text is no conflict
    put(reference, NORM, "", "mine")
    with pytest.raises(NotesError, match="changed meanwhile: it was taken out"):
        put(reference, NORM, "again", "mine")


def _many(reference: str, name: str) -> None:
    for number in range(20):
        put(reference, f"{name}.{number}-output", f"note {number}")


def test_two_programs_at_a_time_lose_nothing(reference: str) -> None:
    spawn = multiprocessing.get_context("fork")
    workers = [spawn.Process(target=_many, args=(reference, name)) for name in ("a", "b", "c")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert len(notes_on(reference).texts) == 60


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "no TOML, or not all of it"),
        (b'schema = "layertui.notes/1"\n[[note', "no TOML, or not all of it"),
        (b'[names]\nsynonyms = [["wo", "o_proj"]]\n', "not a file of notes"),
        (b'schema = "layertui.notes/1"\nnote = 3\n', "damaged"),
        (b'schema = "layertui.notes/1"\n[[note]]\nrecord = "x"\n', "damaged"),
    ],
)
def test_what_is_no_file_of_notes_is_one_line_and_stays(
    content: bytes, words: str, reference: str, file: Path
) -> None:
    file.write_bytes(content)
    (problem,) = notes_on(reference).problems
    assert words in problem and "\n" not in problem
    with pytest.raises(NotesError, match=words):
        put(reference, NORM, "x")
    assert file.read_bytes() == content


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to(reference: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(NotesError, match="cannot be written"):
            put(reference, NORM, "x")
    finally:
        tmp_path.chmod(0o700)


def test_what_cannot_be_written_is_one_line(reference: str, file: Path) -> None:
    file.mkdir()
    with pytest.raises(NotesError, match="is not a file that can be written to"):
        put(reference, NORM, "x")
    with pytest.raises(NotesError, match=f"at most {LONGEST} characters"):
        put(reference, NORM, "x" * (LONGEST + 1))


def test_a_url_has_its_notes_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put("s3://bucket/ref", NORM, "far away")
    assert (tmp_path / FILE).is_file()
    assert notes_on("s3://bucket/ref").texts == {NORM: "far away"}
    assert notes_on("s3://bucket/other").texts == {}


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_any_text_comes_back(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        reference = str(Path(folder) / "ref")
        put(reference, NORM, text)
        expected = " ".join(text.split())
        assert notes_on(reference).texts == ({NORM: expected} if expected else {})
