"""What a form of the report is, and what one is made from and makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from ..comparison import Comparison


@dataclass(frozen=True, slots=True)
class Settings:
    """What steers a report: the command line that makes it again, and the metric that comes
    first.
    """

    command: str
    metric: str = "mse"
    only_diverged: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """The report of one case (`name` is empty where there is only one), or the `problem` that kept
    it from being compared. `status` is its exit status.
    """

    name: str
    status: int
    text: str = ""
    problem: str | None = None

    @property
    def result(self) -> str:
        """`agrees`, `differs` or `not compared`."""
        if self.problem:
            return "not compared"
        return "agrees" if self.status == 0 else "differs"


class FormModule(Protocol):
    """The functions of a form's module. `whole` may be missing where a form holds one comparison
    only: the file is then the part.
    """

    def part(self, comparison: Comparison, settings: Settings, name: str) -> str:
        """One comparison; `name` is that of its case, empty where there is only one."""
        ...

    def whole(self, parts: Sequence[Part], settings: Settings) -> str:
        """The file: of one part without a name, or of several cases."""
        ...


@dataclass(frozen=True, slots=True)
class ReportForm:
    """One form: its name for `--format`, what it is for in a few words, and the module that has
    the functions of `FormModule`, imported when it is asked for.

    `several`: a file can hold several cases. `policy`: the only policy that it goes with.
    """

    name: str
    purpose: str
    module: str
    several: bool = True
    policy: str | None = None

    def load(self) -> FormModule:
        return cast(FormModule, import_module(self.module, __package__))

    def part(self, comparison: Comparison, settings: Settings, name: str = "") -> Part:
        """The report of one comparison."""
        status = comparison.exit_status()
        return Part(name, status, self.load().part(comparison, settings, name))

    def whole(self, parts: Sequence[Part], settings: Settings) -> str:
        """The file, ending in a line break."""
        text = self.load().whole(parts, settings) if self.several else parts[0].text
        return text if text.endswith("\n") else text + "\n"


def is_one(parts: Sequence[Part]) -> bool:
    """Whether there is one comparison only, that is no case of several."""
    return len(parts) == 1 and not parts[0].name
