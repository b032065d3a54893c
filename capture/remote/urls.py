"""URLs of captures, and what in them nobody but the server may see.

A URL may carry a password or a signature. `sealed` puts `***` in their place and remembers them in
this process only; everything else, records and reports and files that are kept, knows the sealed
form alone, and `opened` gives the storage the whole one.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from posixpath import basename
from typing import NamedTuple
from urllib.parse import unquote

from ..errors import CaptureError
from ..storage import is_url

HIDDEN = "***"
WEB = ("http", "https")
_URL = re.compile(r"(?P<scheme>[^:/]+)://(?P<user>[^/?#]*@)?(?P<place>[^?]*)(?P<query>\?.*)?",
                  re.DOTALL)  # fmt: skip
_URL_IN_TEXT = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*://)([^\s/?#'\"<>]*@)?([^\s?'\"<>]*)(\?[^\s'\"<>]*)?"
)
_BELOW_QUERY = re.compile(r"\?\*\*\*\d*/")
_SHORTEST = 4  # characters of a secret that is looked for in texts; less is in every text

_lock = threading.Lock()
_secrets: dict[tuple[str, str], str] = {}  # (what it belongs to, what is shown of it): the secret


def scheme_of(path: str) -> str:
    """`s3` of `s3://...`, in small letters; empty for a path of this machine."""
    return path.partition("://")[0].lower() if is_url(path) else ""


def name_in(url: str) -> str:
    """The file's name at the end of a URL, as its writer called it."""
    name = basename(url.partition("?")[0])
    return unquote(name) if scheme_of(url) in WEB else name


def is_below_query(url: str) -> bool:
    """True for what is looked for below a sealed URL with a query: a file, with nothing in it."""
    return _BELOW_QUERY.search(url) is not None


class _Parts(NamedTuple):
    """`user` and `query` are empty where there is none, else with their `@` and `?`."""

    scheme: str
    user: str
    place: str
    query: str

    @staticmethod
    def of(url: str) -> _Parts:
        match = _URL.fullmatch(url)
        assert match is not None
        return _Parts(match["scheme"], match["user"] or "", match["place"], match["query"] or "")

    @property
    def whose_user(self) -> str:
        return f"{self.scheme}://{re.split('[/#]', self.place)[0]}"

    def joined(self, user: str, query: str) -> str:
        return f"{self.scheme}://{user}{self.place}{query}"


def sealed(path: str) -> str:
    """A URL without its password and its query, which `opened` puts in again; any other path as
    it is.
    """
    if not is_url(path):
        return path
    parts = _Parts.of(path)
    user, query = parts.user, parts.query
    secret = ":" in user or parts.scheme.lower() in WEB  # else the name of a container, or a user
    if len(user) > 1 and secret and not user.startswith(HIDDEN):
        user = _hide(parts.whose_user, user[:-1]) + "@"
    if len(query) > 1 and not query.startswith(f"?{HIDDEN}"):
        query = "?" + _hide(parts.joined("", "?"), query[1:])
    return parts.joined(user, query)


def opened(url: str) -> str:
    """A sealed URL as it was given. Raises `CaptureError` where that is not known here: it was
    printed, or sent to another process.
    """
    parts = _Parts.of(url)
    user, query = parts.user, parts.query
    if user.startswith(HIDDEN):
        user = _found(url, parts.whose_user, user[:-1]) + "@"
    if query.startswith(f"?{HIDDEN}"):
        query = "?" + _found(url, parts.joined("", "?"), query[1:])
    return parts.joined(user, query)


def has_secret(url: str) -> bool:
    """True for a sealed URL of which something is hidden: no other process can open it."""
    if not is_url(url):
        return False
    parts = _Parts.of(url)
    return parts.user.startswith(HIDDEN) or parts.query.startswith(f"?{HIDDEN}")


def scrubbed(text: str) -> str:
    """A text of a library without what is hidden of any URL, and without passwords and queries of
    the URLs in it.
    """
    with _lock:
        known = set(_secrets.values())
    parts = {part for secret in known for part in (secret, unquote(secret), *_values(secret))}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST:
            text = text.replace(part, HIDDEN)
    return _URL_IN_TEXT.sub(_bare, text)


def _values(secret: str) -> Iterator[str]:
    """A password without its user, and the values of a query: a text may quote them alone."""
    yield secret.partition(":")[2]
    for value in re.findall("=([^&]+)", secret):
        yield value
        yield unquote(value)


def _bare(match: re.Match[str]) -> str:
    scheme, user, place, query = match.groups()
    return f"{scheme}{HIDDEN + '@' if user else ''}{place}{'?' + HIDDEN if query else ''}"


def _hide(owner: str, secret: str) -> str:
    """What stands for a secret: `***`, with a number where the same place has several."""
    with _lock:
        number = 1
        while True:
            shown = HIDDEN if number == 1 else f"{HIDDEN}{number}"
            if _secrets.setdefault((owner, shown), secret) == secret:
                return shown
            number += 1


def _found(url: str, owner: str, shown: str) -> str:
    with _lock:
        secret = _secrets.get((owner, shown))
    if secret is None:
        raise CaptureError(f"{url}: its password or query was left out ({HIDDEN}): give it whole")
    return secret
