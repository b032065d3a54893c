"""What matching by content found, remembered on disk like measurements.

The key is made of both captures' records, the names that paired them and the version of the search:
whatever of these changes, everything is looked at again.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from ...aligned import side_task
from ...running.cache import FileIdentities, TextCache
from .found import Content, decoded, encoded

if TYPE_CHECKING:
    from ...aligned import Aligned

CONTENT_VERSION = 8  # raise when the search, or a limit of it, changes


@dataclass(frozen=True, slots=True)
class ContentCache:
    """What was found, under one key."""

    key: str

    @staticmethod
    def of(aligned: Aligned) -> ContentCache | None:
        """None where a file cannot be read: then nothing is remembered."""
        digest = blake2b(digest_size=24)
        digest.update(repr(("content", CONTENT_VERSION)).encode())
        identities = FileIdentities()
        try:
            for row in aligned.rows:
                what = row.kind, row.label, row.step, row.problem, row.matched_by
                digest.update(repr(what).encode())
                for record in (row.reference, row.candidate):
                    if record is not None and record.locator is not None:
                        identities.feed(digest, side_task(record, "", ()))
        except OSError:
            return None
        for capture in (aligned.reference, aligned.candidate):
            names = [record.name for record in capture.records]
            digest.update(repr((capture.order_known, names)).encode())
        return ContentCache(digest.hexdigest())

    def get(self) -> Content | None:
        """What is remembered; None where there is nothing, or it is of another make."""
        with TextCache("content") as cache:
            text = cache.get(self.key)
        return None if text is None else decoded(text)

    def put(self, content: Content) -> None:
        with TextCache("content") as cache:
            cache.put(self.key, encoded(content))
