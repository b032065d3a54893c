"""What a difference looks like: fits of the candidate by simple mistakes, each with what is left.

Only pairs that are examined closely are given here, for their values are read again: a bounded
sample of them and of the records that they could have been mixed up with. `diagnosis` has the
entrance, `thumb` the rules that need no values.
"""
