"""Passes over pairs of files on a GPU, by torch in a process of its own."""
