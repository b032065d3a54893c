"""A layer's error as a test of its own: what went in, the layer's law in a few lines of torch, what
came out on both sides, and the tolerances. The test needs neither layertui nor a capture.

    place      the layer that is meant, and its law evaluated for both sides
    material   what a template makes of a place: arrays, and the code of the law
    templates  one for each law
    files      the test and its data, written to a directory
"""
