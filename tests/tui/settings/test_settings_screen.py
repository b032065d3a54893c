"""`:set`, themes, the mouse and the user's keys on the screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.color import Color

from layertui.tui.app import LayertuiApp
from layertui.tui.jobs.compare_job import Request
from layertui.tui.settings.settings import Settings, read_settings
from layertui.tui.settings.user_keys import user_keymap
from layertui.tui.terminal import Terminal
from layertui.tui.widgets.footer import Footer
from layertui.tui.widgets.text_screen import TextScreen
from support.screens.terminal_driver import PtyApp
from support.screens.tui_captures import make_app, measured, measured_from_top, type_line

DARK, LIGHT = Color.parse("#24415f"), Color.parse("#cfe3f5")  # of the line with the cursor


def with_settings(pair: tuple[Path, Path], settings: Settings) -> LayertuiApp:
    keymap, _, _ = user_keymap(settings.keys)
    request = Request(str(pair[0]), str(pair[1]))
    return LayertuiApp(request, fold="none", settings=settings, keymap=keymap)


def cursor_ground(app: LayertuiApp) -> Color | None:
    pairs = app.list_screen.pairs
    strip = pairs.render_line(pairs.screen_line)
    return next((s.style.bgcolor for s in strip if s.style and s.style.bgcolor), None)


def page(app: LayertuiApp) -> str:
    assert isinstance(app.screen, TextScreen)
    lines = app.screen.query_one(".body")
    return "\n".join(lines.texts)  # type: ignore[attr-defined]


async def test_set_lists_changes_and_says_what_is_wrong(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured_from_top(pilot, app)
        prompt = app.list_screen.prompt
        await type_line(pilot, "colon", "set")
        for part in ("theme", "metric", "mouse", "usual", "auto, dark, light"):
            assert part in page(app)
        await pilot.press("escape")
        await type_line(pilot, "colon", "set metric=max_abs")
        assert app.session.metric == "max_abs"
        await type_line(pilot, "colon", "set metric")
        assert "metric=max_abs (set here): last, mse" in prompt.message
        await type_line(pilot, "colon", "set thme=dark")
        assert "no setting 'thme'; did you mean theme?" in prompt.message
        await type_line(pilot, "colon", "set theme=blue")
        assert "theme is one of auto, dark, light" in prompt.message
        await type_line(pilot, "colon", "set nothing")
        assert "no setting 'nothing'" in prompt.message
        await type_line(pilot, "colon", "set fold=layers")
        await pilot.pause()
        assert app.list_screen.folded


async def test_a_theme_is_changed_at_once_on_all_screens(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured_from_top(pilot, app)
        assert cursor_ground(app) == DARK
        await pilot.press("enter")
        await pilot.pause()
        await type_line(pilot, "colon", "set theme=light")
        assert app.theme == "layertui-light"
        await pilot.press("escape")
        await pilot.pause()
        assert cursor_ground(app) == LIGHT
        await type_line(pilot, "colon", "set theme=auto")
        assert cursor_ground(app) == DARK


async def test_the_same_for_a_light_terminal(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair, terminal=Terminal(light=True, light_ground=True))
    async with app.run_test(size=(100, 30)) as pilot:
        await measured_from_top(pilot, app)
        assert cursor_ground(app) == LIGHT
        assert app.current_theme.dark is False


async def test_settings_are_kept_in_the_file(small_pair: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "new" / "settings.toml"
    app = with_settings(small_pair, read_settings_of(file))
    async with app.run_test(size=(100, 30)) as pilot:
        await measured_from_top(pilot, app)
        await type_line(pilot, "colon", "set theme=light")
        await type_line(pilot, "colon", "set save")
        assert file.read_text() == 'theme = "light"\n'
        file.write_text("# mine\nfold = 'none'  # rows\ntheme = 'dark'\n")
        await type_line(pilot, "colon", "set save")
        assert file.read_text() == "# mine\nfold = 'none'  # rows\ntheme = \"light\"\n"
        file.write_text("theme = ")
        await type_line(pilot, "colon", "set save")
        assert file.read_text() == "theme = "
        assert str(file) in app.list_screen.prompt.message


def read_settings_of(file: Path) -> Settings:
    file.parent.mkdir(exist_ok=True)
    file.touch()
    return read_settings(str(file), {}, {})


async def test_keys_of_the_file_work_and_are_shown(
    small_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[keys]\nfirst-divergence = "s"\nfold-all = "zf"\nmark = "j"\n')
    app = with_settings(small_pair, read_settings(str(file), {}, {}))
    async with app.run_test(size=(120, 40)) as pilot:
        await measured_from_top(pilot, app)
        assert app.list_screen.row == 0
        assert app.screen.query_one(Footer).texts[0].startswith(" s first divergence")
        await pilot.press("f")
        assert app.list_screen.row == 0
        await pilot.press("s")
        assert app.list_screen.row == 12
        await pilot.press("j")
        assert app.session.marks == {12}
        await pilot.press("2", "down")
        assert app.list_screen.row == 15
        await pilot.press("z", "f")
        await pilot.pause()
        assert app.list_screen.folded
        await pilot.press("question_mark")
        await pilot.pause()
        shown = " ".join(page(app).split())
        assert "s to the first divergence" in shown
        assert "zf fold all layers" in shown
        assert "Down one line down" in shown


async def test_what_is_wrong_with_the_file_is_said_and_stops_nothing(
    small_pair: tuple[Path, Path],
) -> None:
    settings = Settings("f", problems=("f: no setting 'thme'", "f: and more"))
    app = with_settings(small_pair, settings)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        assert "f: no setting 'thme'; 1 more (:set)" in app.list_screen.prompt.message
        await type_line(pilot, "colon", "set")
        assert "f: and more" in page(app)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("theme = ", "not valid TOML"), ("thme = 1", "did you mean theme?"),
     ("[keys]\nserch = 's'", "did you mean search?"), (None, "No such file")],
)  # fmt: skip
def test_a_file_that_was_named_must_be_right(
    small_pair: tuple[Path, Path], tmp_path: Path, text: str | None, problem: str
) -> None:
    file = tmp_path / "s.toml"
    if text is not None:
        file.write_text(text)
    options = f"{{'settings_path': {str(file)!r}}}"
    with PtyApp(*small_pair, size=(200, 24), options=options) as app:
        assert app.wait_for_exit() == 2
        assert problem in " ".join(app.text.split())
        assert "Traceback" not in app.text


def test_a_light_terminal_gets_light_colours(small_pair: tuple[Path, Path]) -> None:
    ground = b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\"
    env = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    with PtyApp(*small_pair, size=(100, 24), env=env, ground=ground) as app:
        app.wait_for("3 DIVERGED")
        assert b"48;2;252;252;250" in app.sent
    with PtyApp(*small_pair, size=(100, 24), env=env, ground=ground,
                options="{'theme': 'dark'}") as app:  # fmt: skip
        app.wait_for("3 DIVERGED")
        assert b"48;2;252;252;250" not in app.sent
        assert b"\x1b]11;?" not in app.sent


def test_keys_typed_while_the_terminal_is_asked_are_not_lost(
    small_pair: tuple[Path, Path],
) -> None:
    env = {"TERM": "xterm-256color"}
    with PtyApp(*small_pair, size=(100, 24), env=env, ground=b"?") as app:
        app.wait_for("Marks and keys of the list")


def test_the_mouse_can_be_switched_off(small_pair: tuple[Path, Path]) -> None:
    with PtyApp(*small_pair, size=(100, 24), options="{'mouse': False}") as app:
        app.wait_for("3 DIVERGED")
        assert b"\x1b[?1003h" not in app.sent
    with PtyApp(*small_pair, size=(100, 24)) as app:
        app.wait_for("3 DIVERGED")
        before = app.sent.count(b"\x1b[?1003h")
        assert before
        app.press(":set mouse=off\r")
        assert b"\x1b[?1003l" in app.sent
        app.press(":set mouse=on\r")
        assert app.sent.count(b"\x1b[?1003h") > before
