"""Looking closer at one pair: distributions, greatest differences, axes, heat maps, values.

Every analysis takes blocks of the pair's view in one pass and can say at any time what it has
found so far, so that a tensor of gigabytes shows its first numbers within a second. Nothing here
imports textual; the screens, `layertui show` and exports are three views of the same results.
"""
