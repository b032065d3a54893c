"""From measurements to verdicts: where an error comes from, and whether it is one."""
