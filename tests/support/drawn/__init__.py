"""Things that hypothesis draws."""
