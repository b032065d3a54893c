"""What a search costs: milliseconds from a letter to the row that the cursor goes to.

    python benchmarks/searching.py [--rows 100000]

Names as long as those of both sides of a pair. The index is made once for a comparison, in a thread
of its own where there are more rows than a key has time for. The budget of a key is 100 ms.
"""

from __future__ import annotations

import argparse

from folding import took

from layertui.tui.list.finding.name_index import NameIndex

BUDGET = 0.1  # seconds a key
PARTS = ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn", "mlp.up", "mlp")


def texts_of(count: int) -> list[str]:
    """What rows are searched by: label, step, short and full names of both sides."""
    names = (f"layers.{i // 30}.{PARTS[i % 6]}.{i % 5}" for i in range(count))
    return [f"{n}-output s0 step 0 l {n} model.model.{n} l {n} model.language_model.{n}"
            for n in names]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="What a search costs.")
    parser.add_argument("--rows", type=int, default=100_000)
    count = parser.parse_args().rows
    texts = texts_of(count)
    print(f"index, once            {1e3 * took(lambda: NameIndex(texts), 3):7.1f} ms")
    index = NameIndex(texts)
    middle = count // 2
    for name, words in (
        ("in the next row", ["mlp"]), ("far away", [f"layers.{(count - 1) // 30}.", "q_proj"]),
        ("nowhere", ["nowhere"]), ("first word everywhere", ["model.model", "nowhere"]),
        ("longest everywhere", ["model.language_model", "nowhere"]),
    ):  # fmt: skip
        for direction, sign in ((1, "n"), (-1, "N")):
            cost = took(lambda w=words, d=direction: index.next(w, middle, d, lambda _: True))
            shown = f"{name} {sign}"
            print(f"{shown:23} {1e3 * cost:6.1f} ms  {cost / BUDGET:5.2f} of the budget")
    cost = took(lambda: index.rows(["q_proj"]))
    print(f"{'filter q_proj':23} {1e3 * cost:6.1f} ms  {cost / BUDGET:5.2f} of the budget")


if __name__ == "__main__":
    main()
