"""One pair on a screen of its own."""
