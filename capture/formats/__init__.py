"""One module per on-disk format, and `registry`, the one table of them.

What a module offers is told in `format`.
"""
