"""What other packages say of damaged files, as one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ...errors import RecordError
from ..text.json_text import plain_text

T = TypeVar("T")


def guarded(what: str, call: Callable[[], T]) -> T:
    """What `call` returns. Raises `RecordError` for anything that it raises: `what` is damaged."""
    try:
        return call()
    except RecordError:
        raise
    except Exception as error:
        said = plain_text(f"{type(error).__name__}: {error}", 200)
        raise RecordError(f"damaged {what}: {said}") from error
