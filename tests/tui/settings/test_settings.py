"""Settings of the file, the environment and options, and the user's keys, without a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertui.tui.key_table import ids_markdown
from layertui.tui.keys import KEYS, keys_of, named_key, show_key
from layertui.tui.settings.file import parse_settings, read_file
from layertui.tui.settings.keymap import make_keymap
from layertui.tui.settings.settings import read_settings, settings_path
from layertui.tui.settings.table import SettingError, setting_named, settings_table
from layertui.tui.settings.user_keys import user_keymap

PAGE = Path(__file__).parents[3] / "docs/manual/settings.md"


def test_a_file_sets_what_it_names() -> None:
    found = parse_settings(
        b'theme = "light"\nmouse = false\n[keys]\nsearch = "s Ctrl-F"\ndown = ["j", "e"]\n', "f"
    )
    assert found.problems == ()
    assert found.values == {"theme": "light", "mouse": "off"}
    assert found.keys == {"search": ("s", "Ctrl-F"), "down": ("j", "e")}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("theme = ", "f: not valid TOML: "),
        ("thme = 'dark'", "f: no setting 'thme'; did you mean theme?"),
        ("theme = 'blue'", "f: theme is one of auto, dark, light, not 'blue'"),
        ("theme = 3", "f: theme is one of auto, dark, light, not 3"),
        ("keys = 3", 'f: keys is a table: [keys], then lines as search = "s"'),
        ("[keys]\ndown = 3", "f: keys.down is a string with keys, or a list of strings"),
        ("[keys]\ndown = ''", "f: keys.down is a string with keys, or a list of strings"),
        ("[a.b]\nc = 1", "f: no setting 'a': theme, metric, fold, mouse"),
        ("\xff", "f: not valid TOML: "),
        ("a = " + "[" * 100_000, "f: not valid TOML: "),
    ],
)
def test_what_means_nothing_is_one_line(text: str, problem: str) -> None:
    found = parse_settings(text.encode("latin-1"), "f")
    assert len(found.problems) == 1
    assert found.problems[0].startswith(problem)
    assert "\n" not in found.problems[0]


def test_the_rest_of_a_file_with_a_problem_counts() -> None:
    found = parse_settings(b'thme = 1\ntheme = "dark"\n[keys]\ndown = 1\nup = "x"\n', "f")
    assert found.values == {"theme": "dark"}
    assert found.keys == {"up": ("x",)}
    assert len(found.problems) == 2


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    gone = tmp_path / "gone.toml"
    assert read_file(str(gone), must_be_there=False).problems == ()
    assert "No such file" in read_file(str(gone), must_be_there=True).problems[0]
    assert "cannot be read" in read_file(str(tmp_path), must_be_there=True).problems[0]
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * 1_000_001)
    assert "more than a megabyte" in read_file(str(large), must_be_there=True).problems[0]


def test_options_over_the_environment_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('theme = "light"\nmetric = "mse"\nfold = "none"\n')
    found = read_settings(
        str(file), {"LAYERTUI_METRIC": "ulp", "LAYERTUI_FOLD": "layers"},
        {"fold": "auto", "theme": None},
    )  # fmt: skip
    shown = {name: (found[name], found.source(name)) for name in settings_table()}
    assert shown == {
        "theme": ("light", str(file)), "metric": ("ulp", "LAYERTUI_METRIC"),
        "fold": ("auto", "command line"), "mouse": ("on", "usual"),
    }  # fmt: skip
    wrong = read_settings(str(file), {"LAYERTUI_THEME": "blue"}, {})
    assert wrong["theme"] == "light"
    assert wrong.problems[0].startswith("LAYERTUI_THEME: theme is one of")


def test_the_usual_file(private_home: Path) -> None:
    path = settings_path()
    assert path.name == "settings.toml"
    path.parent.mkdir(parents=True)
    path.write_text("mouse = false")
    assert read_settings(None, {}, {})["mouse"] == "off"


def test_values() -> None:
    assert setting_named("mouse").value(True) == "on"
    with pytest.raises(SettingError, match="did you mean mouse"):
        setting_named("mose")


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        ("]", "right_square_bracket"), ("Ctrl-S", "ctrl+s"), ("ctrl+s", "ctrl+s"), ("x", "x"),
        ("PgDn", "pagedown"), ("Esc", "escape"), ("Shift-Tab", "shift+tab"), ("F5", "f5"),
        ("zM", "zM"), (",", "comma"), ("|", "vertical_line"), ("nonsense", None), ("Ctrl-", None),
        ("", None), ("a\nb", None), ("up", "up"), ("Shift-Left", "shift+left"),
    ],
)  # fmt: skip
def test_keys_as_people_write_them(shown: str, name: str | None) -> None:
    assert named_key(shown) == name


def test_every_key_of_the_table_is_read_as_it_is_shown() -> None:
    for key in KEYS:
        for name in key.keys.split(","):
            assert named_key(show_key(name)) == name
            assert named_key(name) == name


@pytest.mark.parametrize(
    "shown", ["F5", "Ctrl-S", "Ctrl-Left", "Alt-X", "Shift-F5", "Ctrl-]", "Shift-Tab"]
)
def test_keys_are_shown_as_people_write_them(shown: str) -> None:
    assert show_key(str(named_key(shown))) == shown


def test_a_key_with_another_meaning_loses_the_one_of_before() -> None:
    keys = keys_of("list")
    keymap, problems = make_keymap({"search": ("j", "s"), "everywhere.up": ("u",)}, keys)
    shown = {key.id: key.keys for key in keymap.shown(keys)}
    assert problems == []
    assert (shown["search"], shown["down"], shown["up"]) == ("j,s", "down", "u")
    assert "unmark" not in shown  # which had only `u`
    assert keymap.textual() == {"list.search": "j,s", "everywhere.up": "u"}
    assert keymap.conflicts({"list": keys}) == [
        "j is search now, not down (list)", "u is up now, not unmark (list)",
    ]  # fmt: skip


def test_one_key_for_two_things_is_said() -> None:
    keys = keys_of("list")
    keymap, _ = make_keymap({"search": ("s",), "filter": ("s",)}, keys)
    assert keymap.conflicts({"list": keys}) == ["s is both filter and search (list)"]


def test_keys_that_trade_places_do_not_conflict() -> None:
    keys = keys_of("list")
    keymap, _ = make_keymap({"next-match": ("N",), "previous-match": ("n",)}, keys)
    assert keymap.conflicts({"list": keys}) == []


def test_ids_and_keys_that_do_not_exist() -> None:
    keymap, problems, _ = user_keymap({"serch": ("s",), "down": ("Ctrl-Nowhere",), "up": ("e",)})
    assert problems == [
        "keys: nothing is called 'serch'; did you mean search?",
        "keys.down: no key is called 'Ctrl-Nowhere'",
    ]
    assert keymap.names == {"up": ("e",)}


def test_the_manual_s_file_has_no_fault_and_its_page_all_settings_and_ids() -> None:
    page = PAGE.read_text()
    example = page.partition("```TOML\n")[2].partition("```")[0]
    found = parse_settings(example.encode(), "example")
    _, problems, conflicts = user_keymap(found.keys)
    assert (found.problems, problems, conflicts) == ((), [], [])
    assert found.values and found.keys
    for name, setting in settings_table().items():
        assert f"`{name}`" in page and setting.variable in page
    assert ids_markdown() in page
