"""What a process holds: descriptors, threads, objects of our own."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter

from textual._styles_cache import StylesCache
from textual.dom import DOMNode


def in_use() -> tuple[int, int]:
    """Descriptors of files, and threads, of this process."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def no_more_than(before: tuple[int, int]) -> bool:
    return all(now <= then for now, then in zip(in_use(), before, strict=True))


def objects() -> Counter[str]:
    """How many objects of our own and widgets there are, by type."""
    StylesCache.get_inner_outer.cache_clear()  # remembers the last thousand widgets' lines
    gc.unfreeze()
    gc.collect()
    kinds = Counter(type(one) for one in gc.get_objects())
    return Counter(
        {
            f"{kind.__module__}.{kind.__qualname__}": count
            for kind, count in kinds.items()
            if str(kind.__module__).startswith("layertui.") or issubclass(kind, DOMNode)
        }
    )


def more_of(before: Counter[str], after: Counter[str]) -> dict[str, tuple[int, int]]:
    """Types that there are more of, by more than a few that are remembered on purpose."""
    return {
        name: (before[name], count)
        for name, count in after.items()
        if count > before[name] + 10 + before[name] // 10
    }
