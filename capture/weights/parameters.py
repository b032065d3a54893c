"""What a checkpoint is made of. Nothing here touches a file or imports numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..records import Locator

_HEAD = "lm_head"
_EMBEDDINGS = ("embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One tensor of a checkpoint: its name there, and where it lies with dtype and shape."""

    name: str
    locator: Locator


@dataclass(frozen=True)
class Weights:
    """The tensors of a checkpoint by their names in the file, and the model's config.

    `config` is the content of `config.json`, empty when there is none. `notes` are sentences for
    the user: what was passed over, and why. `partial` ones are some of the model's only: those
    that were kept with a capture.
    """

    path: str
    parameters: Mapping[str, Parameter]
    config: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    partial: bool = False

    @property
    def tied(self) -> bool:
        """Whether the head of a language model uses the table of embeddings, as `config.json` has
        it. Where that says nothing, a head that the checkpoint lacks is tied: transformers leaves
        it out for no other reason.
        """
        text = self.config.get("text_config")
        for part in (self.config, text if isinstance(text, dict) else {}):
            said = part.get("tie_word_embeddings")
            if isinstance(said, bool):
                return said
        return True

    def find(self, module: str, name: str = "weight") -> Parameter | None:
        """The parameter `name` of `module`, a path as the checkpoint or a dump has it, with or
        without the `model` that they put in front; a tied head gives the table of embeddings.

        Names of other frameworks go through `compare.parameters`, which knows the naming rules.
        """
        for path in _spellings(module):
            found = self.parameters.get(f"{path}.{name}" if path else name)
            if found is not None:
                return found
        if name == "weight" and module.rpartition(".")[2] == _HEAD and self.tied:
            return self.embeddings()
        return None

    def embeddings(self) -> Parameter | None:
        """The table of token embeddings, None unless there is exactly one."""
        ends = tuple(f"{word}.weight" for word in _EMBEDDINGS)
        found = [
            parameter
            for name, parameter in self.parameters.items()
            if name.endswith(ends) and name.rpartition(".")[0].rpartition(".")[2] in _EMBEDDINGS
        ]
        return found[0] if len(found) == 1 else None


def _spellings(module: str) -> list[str]:
    """`module` itself, then with fewer `model.` in front, then with one more."""
    found = [module]
    while found[-1].startswith("model."):
        found.append(found[-1].removeprefix("model."))
    if found[-1] == "model":
        found.append("")
    found.append(f"model.{module}")
    return found
