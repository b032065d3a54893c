"""The entry point `layertui` and what ends it: exit statuses, and one line for every error.

`layertui REFERENCE CANDIDATE` without options goes to the screen directly: the command line
parser would take a tenth of the time to the first layer name.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from .errors import UserError

if TYPE_CHECKING:
    import click

_INTERRUPTED = 130
_USAGE = 2


def status_of(args: list[str]) -> int:
    """Run the command line `args` and return the exit status; never raises, never a traceback."""
    try:
        args = _without_secrets(args)
        if _plain_captures(args):
            from ..tui import run_app

            return run_app(args[0], args[1])
        return _parsed(args)
    except KeyboardInterrupt:
        _say("layertui: interrupted")
        return _INTERRUPTED
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else _USAGE
    except BaseException as error:
        return _fail(_error_line(error))


def _without_secrets(args: list[str]) -> list[str]:
    """URLs without passwords and signatures: nothing that is printed or kept may have them."""
    if not any("://" in arg for arg in args):
        return args
    from ..capture.remote.urls import sealed

    return [sealed(arg) for arg in args]


def _plain_captures(args: list[str]) -> bool:
    """Two existing paths that are neither options nor commands, on a terminal."""
    from ..tui import is_interactive

    return (
        len(args) == 2
        and not any(arg.startswith("-") or not os.path.exists(arg) for arg in args)
        and (os.sep in args[0] or args[0] not in _command_names())
        and is_interactive()
    )


def _command_names() -> set[str]:
    from .group import COMMANDS

    return set(COMMANDS)


def _parsed(args: list[str]) -> int:
    """Run the command line by click."""
    import click

    from .group import layertui

    try:
        result = layertui.main(args, prog_name="layertui", standalone_mode=False, obj=args)
    except click.ClickException as error:
        return _fail(_usage_line(error))
    except click.Abort:
        raise KeyboardInterrupt from None
    return result if isinstance(result, int) else 0


def run() -> None:
    """Entry point of the console script."""
    from ..capture.interpreter.garbage import leave_to_the_system
    from .output import flush_stdout

    status = status_of(sys.argv[1:])
    try:
        flush_stdout()
    except UserError as error:
        status = _fail(_error_line(error))
    leave_to_the_system()
    sys.exit(status)


def _usage_line(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    ctx = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return error.format_message()
    hint = f" (see {ctx.command_path.strip()} --help)" if ctx is not None else ""
    return f"layertui: {message}{hint}"


def _error_line(error: BaseException) -> str:
    """The line for an error that reached the top; a bug of ours goes to the crash log as well."""
    if isinstance(error, UserError) or type(error).__name__ in ("CaptureError", "RulesError"):
        return "layertui: " + _printable(" ".join(str(error).split()))
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return f"layertui: {name}{error.strerror}"
    if isinstance(error, MemoryError):
        return "layertui: out of memory"
    said = _scrubbed(str(error))
    return f"layertui: internal error: {type(error).__name__}: {said}{_log_crash(error)}"


def _printable(text: str) -> str:
    """Names come from files: control characters are shown, never sent to a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _scrubbed(text: str) -> str:
    """What an unknown error says, without what is hidden of URLs."""
    if "://" not in text:
        return text
    from ..capture.remote.urls import scrubbed

    return scrubbed(text)


def _log_crash(error: BaseException) -> str:
    import traceback

    from ..capture.user.paths import state_dir

    log = state_dir() / "crash.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(_scrubbed("".join(traceback.format_exception(error))), encoding="utf-8")
    except OSError:
        return ""
    return f" (details in {log})"


def _fail(line: str) -> int:
    _say(line)
    return _USAGE


def _say(line: str) -> None:
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError):  # nobody may be listening
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run()
