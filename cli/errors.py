"""The one way in which a command ends badly: a line for the user and exit status 2."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can put right; the message is one line."""
