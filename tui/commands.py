"""What the `:` line understands. The table feeds the line, its help and the palette."""

from __future__ import annotations

from dataclasses import dataclass


class CommandError(Exception):
    """A command that cannot be carried out; one line for the user."""


@dataclass(frozen=True)
class Command:
    """`name` as typed (an unambiguous beginning will do); `command_<name>` carries it out."""

    name: str
    usage: str
    description: str


COMMANDS: tuple[Command, ...] = (
    Command("goto", "goto N | NAME", "to row N, or the first row whose names hold these words"),
    Command("case", "case [N | NAME]",
            "of folders of captures another pair; without a name: what came of each"),
    Command("metric", "metric [NAME]", "metric in the badges; without a name the next one"),
    Command("policy", "policy noise|dtype|fixed",
            "how verdicts are made; nothing is measured again"),
    Command("baseline", "baseline [DIR|off]",
            "another run of the reference, whose noise is the floor; without DIR: those known"),
    Command("threshold", "threshold METRIC=VALUE ...",
            "limits for the policy fixed; also rtol=, atol="),
    Command("filter", "filter [WORDS]", "show only rows with these words; without: all"),
    Command("search", "search WORDS", "to the next row with these words"),
    Command("only", "only [diverged|CHANGE|all]",
            "show only what diverged, or what is cured, new, worse, ... since an earlier one"),
    Command("watch", "watch [off]",
            "read the candidate again whenever it is written anew, and say what changed"),
    Command("before", "before [DIR|off]",
            "compare with an earlier candidate: what is cured, new, worse, better, gone, added"),
    Command("show", "show outputs|inputs|everything", "which rows the list holds"),
    Command("export", "export [FILE]",
            "the marked rows, or this one, to a file; FILE.svg: what is on the screen"),
    Command("report", "report [FILE]",
            "write a bug report: cause, numbers, both runs, how to see it again; .html: a page"),
    Command("yank", "yank [long]",
            "copy this row's headline and five numbers to the clipboard; long: all known of it"),
    Command("repro", "repro", "write a test that shows this layer's error to ./repro-LAYER"),
    Command("unmark", "unmark", "unmark all rows"),
    Command("reload", "reload", "read both directories again"),
    Command("symptoms", "symptoms", "diagnose the difference of this row, or of the marked rows"),
    Command("rerun", "rerun [fresh]", "run this layer, or marked ones, on the reference's inputs"),
    Command("runner", "runner DIR|MODULE:FUNCTION|! CMD", "what runs the candidate's layers"),
    Command("model", "model reference|candidate PATH",
            "the checkpoint of a side; without a path: list those known"),
    Command("save", "save [FILE]",
            "hand-made pairs and kept recipes to a rules file; map, trend: the picture, as text, "
            "SVG or PNG by the suffix"),
    Command("view", "view N | NAME", "pair screen: show a view"),
    Command("top", "top N", "pair screen: how many greatest differences"),
    Command("slice", "slice 0,:,128:160", "pair screen: the part that values or heat map show"),
    Command("axes", "axes ROWS COLUMNS", "heat map: which axes are rows and columns"),
    Command("heads", "heads N", "greatest differences: rank N heads of the last axis"),
    Command("recipe", "recipe [ref|cand] [RECIPE]", "pair screen: try a recipe"),
    Command("with", "with NAME", "pair screen: compare a gap with any record of the other side"),
    Command("keep", "keep pair|kind", "pair screen: keep the recipe for this pair or its kind"),
    Command("by", "by component",
            "what each kind of module adds to the error that it inherits, the worst layer named"),
    Command("map", "map", "all layers and components as a map"),
    Command("trend", "trend", "the error along the run"),
    Command("note", "note [TEXT]",
            "keep a note on this row; without a text: change it, or empty it, which takes it out"),
    Command("set", "set [NAME=VALUE | save]",
            "settings: theme, metric, fold, mouse; alone: list them; save: keep them in the file"),
    Command("notes", "notes", "what is known about both captures, their order, ignored records"),
    Command("why", "why", "how this row's record was identified, and why it has no partner"),
    Command("help", "help", "keys and commands"),
    Command("quit", "quit", "leave layertui"),
)  # fmt: skip

# Words that are no beginning of what they mean.
SHORT = {"q": "quit", "q!": "quit", "x": "quit", "w": "export", "t": "threshold"}


def parse(text: str) -> tuple[Command, str] | None:
    """The command that a line means and the rest of the line; None for an empty line.

    A number alone goes to that row. Raises `CommandError` for what no command answers to.
    """
    text = text.strip().removeprefix(":").strip()
    if not text:
        return None
    if text.isdecimal():
        return _named("goto"), text
    word, _, rest = text.partition(" ")
    return _named(SHORT.get(word, word)), rest.strip()


def _named(word: str) -> Command:
    fitting = [command for command in COMMANDS if command.name.startswith(word)]
    exact = [command for command in fitting if command.name == word]
    if exact or len(fitting) == 1:
        return (exact or fitting)[0]
    if fitting:
        names = ", ".join(command.name for command in fitting)
        raise CommandError(f"{word!r} could be {names}")
    raise CommandError(f"no command {word!r}; ? lists them")
