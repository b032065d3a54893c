"""What torch sees. No numpy is imported here, so that `layertui --where` begins at once."""

from __future__ import annotations

from ...capture.extras import has_package
from .process import DeviceProcess, LostError


def seen_by_torch() -> str:
    """What torch sees, in words. A process imports it and is asked, which takes seconds."""
    if not has_package("torch"):
        return "no torch"
    try:
        process = DeviceProcess("auto")
        try:
            hello = process.hello()
        finally:
            process.kill()
    except LostError as error:
        return f"the process with torch {error}"
    if hello is None or hello.torch is None:
        return f"torch cannot be imported ({hello.why if hello else ''})"
    named = ", ".join(f"cuda:{at} {name}" for at, name in enumerate(hello.seen))
    return f"{named or 'no CUDA device'} (torch {hello.torch})"
