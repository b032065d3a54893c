"""Reshape and compare. Recipes of both sides are typed, tried, ranked and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ...commands import CommandError
from ...present.pieces import Pieces
from ...present.text import clean, cut, dtype_text, shape_text, wrap
from ...scene import Scene, Trial
from ..recipe_trials import problem_of, proposals_of, shape_after, trial_with
from .layout_lines import choice_line, numbers_line
from .view import View, ViewKey

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from ....capture.records import Record
    from ....compare.inspection.partners import Partner
    from ....compare.layout_search.ranking import Proposal, Tried
    from ...jobs.inspector import Work
    from ..stage import Stage

_SIDES = ("reference", "candidate")
_KEEP = "keep for p this pair, k all of its kind, P or K in the rules file too: "


class LayoutView(View):
    """The first two lines of the cursor are the recipes of both sides, the others what may be
    tried: likely recipes, or, for a gap, records of the other side.
    """

    NAME = "layout"
    title = "Layout"
    about = "reshape and compare: try recipes"
    KEYS = (
        ViewKey("enter", "enter,plus", "edit or try", "edit or try", 6),
        ViewKey(
            "edit", "i", "edit recipe",
            "edit a recipe; every key is text until Esc or Enter", 7,
        ),
        ViewKey("rank", "l", "rank recipes", "try likely recipes, best first", 8),
        ViewKey(
            "write", "w", "keep recipe",
            "keep the recipe: for this pair or all of its kind, in the rules file", 9,
        ),
        ViewKey("undo", "z", "undo", "undo the last change of a recipe", 10, any_view=True),
    )  # fmt: skip
    COMMANDS = ("recipe", "with", "keep")
    BROUGHT_BY = frozenset({"edit", "rank", "write", *COMMANDS})
    needs_pair: ClassVar[bool] = False

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.cursor = 1
        self._typed: tuple[str, str] | None = None  # side and text in the editor
        self._before: Trial | None = None  # what was tried when the editor opened
        self._proposals: list[Proposal] = []
        self._ranked: list[Tried] = []
        self._partners: list[Partner] = []
        self._about: tuple[object, ...] = ()  # which records proposals are for

    def scene_changed(self) -> None:
        scene = self.scene
        if scene is None:
            return
        row = scene.row
        about = (id(scene.comparison), scene.index, id(row.reference), id(row.candidate))
        if about == self._about:
            return
        self._about = about
        self.cursor, self._ranked, self._proposals, self._partners = 1, [], [], []
        self._typed = None
        if row.kind == "pair":
            self._proposals = proposals_of(scene)
        else:
            from ....compare.inspection.partners import partners_of

            self._partners = partners_of(scene.comparison, scene.index)

    # What there is to choose

    @property
    def _choices(self) -> int:
        return 2 + len(self._ranked or self._proposals or self._partners)

    @property
    def _chosen(self) -> Any:
        """The proposal or record under the cursor; None on the recipes."""
        rows: list[Any] = list(self._ranked or self._proposals or self._partners)
        return rows[self.cursor - 2] if 2 <= self.cursor < 2 + len(rows) else None

    @property
    def _side(self) -> str:
        """The side whose recipe is edited: the candidate's unless the cursor is on the other."""
        return _SIDES[0] if self.cursor == 0 else _SIDES[1]

    @property
    def _recipes(self) -> Trial:
        """The recipes that are looked at now."""
        scene = self.scene
        assert scene is not None
        if scene.trial is not None:
            return scene.trial
        return Trial(scene.row.recipe_reference, scene.row.recipe_candidate)

    # Keys and commands

    @property
    def actions(self) -> dict[str, Callable[[], str]]:
        return {"enter": self.enter, "edit": self.edit, "rank": self.rank, "write": self.keep}

    @property
    def commands(self) -> dict[str, Callable[[str], str]]:
        return {
            "recipe": self.command_recipe, "with": self.command_with, "keep": self.command_keep,
        }  # fmt: skip

    def move(self, lines: int) -> None:
        self.cursor = max(0, min(self._choices - 1, self.cursor + lines))
        self._follow()

    def page(self, pages: float) -> None:
        self.move(int(pages * max(1, self.size.height)))

    def to_top(self) -> None:
        self.cursor = 0
        self._follow()

    def to_bottom(self) -> None:
        self.cursor = self._choices - 1
        self._follow()

    def _follow(self) -> None:
        self.draw()
        line = self._cursor_line
        top, height = self.scroll_offset.y, self.size.height
        if self.cursor < 2:
            self._scroll(0)
        elif line < top:
            self._scroll(line)
        elif line >= top + height:
            self._scroll(line - height + 1)

    def enter(self) -> str:
        """Edit the recipe under the cursor, or try what is under it."""
        chosen = self._chosen
        if chosen is None:
            return self.edit()
        if self._partners:
            self._compare_with(chosen.record)
        else:
            proposal = getattr(chosen, "proposal", chosen)
            self._try(Trial(proposal.reference, proposal.candidate, self._recipes.partner))
        return ""

    def edit(self) -> str:
        """Open the editor over the recipe of one side."""
        if self.scene is None:
            return ""
        side = self._side
        self._before = self.scene.trial
        self._typed = (side, getattr(self._recipes, side))
        self.stage.ask_user(
            f"{side} recipe: ", self._entered, self._typed[1], sign="r", changed=self._typing,
            left=self._left,
        )  # fmt: skip
        self.draw()
        return ""

    def _typing(self, text: str) -> None:
        """Check shapes with every key, and measure what fits."""
        if self._typed is None:
            return
        self._typed = (self._typed[0], text)
        trial = self._with_text(*self._typed)
        if self._problem(trial) is None:
            self.stage.try_trial(trial, remember=False)
        self.draw()

    def _with_text(self, side: str, text: str) -> Trial:
        now = self._recipes
        if side == "reference":
            return Trial(text.strip(), now.candidate, now.partner)
        return Trial(now.reference, text.strip(), now.partner)

    def _entered(self, text: str) -> None:
        typed, self._typed = self._typed, None
        if typed is None:
            return
        trial = self._with_text(typed[0], text)
        problem = self._problem(trial)
        self.stage.try_trial(self._before, remember=False)
        if problem is not None:
            self.stage.say(problem, warn=True)
            self.draw()
            return
        self._try(trial)

    def _left(self) -> None:
        """Esc in the editor: as it was before."""
        self._typed = None
        self.stage.try_trial(self._before, remember=False)
        self.draw()

    def _try(self, trial: Trial) -> None:
        problem = self._problem(trial)
        if problem is not None:
            self.stage.say(problem, warn=True)
            return
        from ....compare.recipes.parse import parse_recipe

        left, right = (str(parse_recipe(text)) for text in (trial.reference, trial.candidate))
        self.stage.try_trial(Trial(left, right, trial.partner))
        self.stage.say("tried; w keeps it, z undoes, Esc leaves it")

    def rank(self) -> str:
        """Try every likely recipe and order them by relative L2."""
        scene = self.scene
        if scene is None or not self._proposals:
            return "there is nothing to rank: only one side has this record"
        from ....compare.layout_search.ranking import prepare, rank

        proposals = self._proposals
        task, hints = prepare(scene.comparison, scene.row)

        def work(work: Work) -> list[Tried]:
            return rank(
                task, proposals, work.cancelled,
                lambda done, total: work.tell(None, done, total), hints,
            )  # fmt: skip

        self.progress = (0, len(proposals))
        self.run_task(("rank", self._about), work)
        self.draw()
        return ""

    def found(self, key: Hashable, result: Any, final: bool) -> None:
        if final and key == ("rank", self._about):
            self._ranked = list(result)
            self.cursor = 2
            self.stage.say("best first; Enter tries one")

    # Keeping

    def keep(self) -> str:
        """Ask for whom the recipe is kept, and where."""
        if self.scene is None or self.scene.trial is None:
            return "nothing tried yet: i edits a recipe, l ranks likely ones"
        self.stage.ask_user(_KEEP, self._kept, "p")
        return ""

    def _kept(self, answer: str) -> None:
        answer = answer.strip()
        if answer not in ("p", "k", "P", "K"):
            self.stage.say("not kept")
            return
        self.stage.keep_trial(kind=answer in "kK", save=answer in "PK")

    # Commands

    def command_recipe(self, text: str) -> str:
        """`:recipe [ref|cand] RECIPE`."""
        word, _, rest = text.partition(" ")
        sides = {"ref": "reference", "cand": "candidate", **{s: s for s in _SIDES}}
        side = sides.get(word)
        if side is not None:
            text = rest
        trial = self._with_text(side or "candidate", text)
        problem = self._problem(trial)
        if problem is not None:
            raise CommandError(problem)
        self._try(trial)
        return ""

    def command_with(self, text: str) -> str:
        """`:with NAME`: compare a gap's record with any of the other side."""
        from ....compare.inspection.partners import partner_named

        scene = self.scene
        if scene is None or scene.aligned.kind == "pair":
            raise CommandError("this row is a pair; P on the list unpairs it")
        found = partner_named(scene.comparison, scene.index, text)
        if found is None:
            raise CommandError(f"the other side has no record {text!r}")
        self._compare_with(found)
        return ""

    def command_keep(self, text: str) -> str:
        """`:keep pair|kind [save]`."""
        words = text.split() or ["pair"]
        if words[0] not in ("pair", "kind") or self.scene is None or self.scene.trial is None:
            raise CommandError("keep pair or keep kind, once a recipe is tried")
        self.stage.keep_trial(kind=words[0] == "kind", save="save" in words[1:])
        return ""

    def _compare_with(self, record: Record) -> None:
        assert self.scene is not None
        trial, fits = trial_with(self.scene, record)
        self.stage.try_trial(trial)
        note = "" if fits else "; shapes differ: i edits a recipe, l tries likely ones"
        self.stage.say(f"compared with {record.name}{note}")

    def _problem(self, trial: Trial) -> str | None:
        assert self.scene is not None
        return problem_of(self.scene, trial)

    # Drawing

    @property
    def _cursor_line(self) -> int:
        """The line that the cursor is on."""
        return self.cursor + 1 if self.cursor < 2 else self._first_choice + self.cursor - 2

    _first_choice = 0

    def lines(self) -> list[Pieces]:
        scene = self.scene
        if scene is None:
            return []
        lines: list[Pieces] = [self.heading("Recipes")]
        lines += [self._recipe_line(at) for at in (0, 1)]
        lines += self._outcome()
        if self._partners:
            title = "Records of the other side (Enter compares with one, :with NAME with any)"
        elif self._ranked:
            title = "Likely recipes, best first"
        else:
            title = "Likely recipes (Enter tries one, l tries all and ranks them)"
        lines += [[], self.heading(title), *self.state_lines()]
        self._first_choice = len(lines)
        for at, choice in enumerate(self._ranked or self._proposals or self._partners):
            lines.append(choice_line(self.look, self.size.width, choice, at + 2 == self.cursor))
        if self._choices == 2:
            lines.append([("  none", self.look.palette.muted)])
        return lines

    def _recipe_line(self, at: int) -> Pieces:
        scene = self.scene
        assert scene is not None
        side = _SIDES[at]
        record: Record | None = (scene.row.reference, scene.row.candidate)[at]
        text = getattr(self._recipes, side)
        if self._typed is not None and self._typed[0] == side:
            text = self._typed[1]
        here = self.cursor == at
        style = self.look.palette.cursor if here else None
        if record is None:
            return [(f"  {side:<10} ", self.look.palette.muted), ("no such record", style)]
        about = f"{shape_text(record.shape)} {dtype_text(record.dtype)}"
        shape = shape_after(record, text)
        arrow = "->" if self.ascii else "→"
        room = max(10, self.size.width - len(about) - len(shape) - 22)
        shown = cut(clean(text or "(as it is)", self.ascii), room, self.look.signs.dots)
        return [
            (f"  {side:<10} ", self.look.palette.muted), (f"{about} ", None),
            (f" {shown} ", style), (f" {arrow} {shape}", self.look.palette.accent),
        ]  # fmt: skip

    def _outcome(self) -> list[Pieces]:
        """What the recipes give: an error of shape in words, or numbers beside those of before."""
        scene = self.scene
        assert scene is not None
        palette = self.look.palette
        if self._typed is not None:
            problem = self._problem(self._with_text(*self._typed))
            if problem is not None:
                width = max(20, self.size.width - 4)
                return [[(f"  {part}", palette.warn)] for part in wrap(problem, width, 4)]
        if scene.row.kind != "pair":
            return [[("  only one side has this record", palette.muted)]]
        lines = [numbers_line(self.look, "now" if scene.trial else "as aligned", scene)]
        if scene.trial is not None and scene.aligned.kind == "pair":
            before = Scene(scene.comparison, scene.index)
            lines.append(numbers_line(self.look, "as aligned", before))
        return lines
