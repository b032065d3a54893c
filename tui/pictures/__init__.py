"""The screen, and lines of it, as files: text, SVG, PNG."""
