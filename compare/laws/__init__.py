"""What every layer should give for the inputs that were recorded: its law.

Where a layer's inputs are in a capture, its output can be worked out offline, for each side by
itself. What is left of the difference is the layer's own error: nothing is inherited, whatever the
depth. One module an operator family; `registry` lists them. Nothing here knows `Comparison`.

    quantities   the records of one side, by canonical name, read as tables
    law          what a law is: where it applies, what it predicts, what could be wrong
    rounding     the error that rounding makes, from the grid that values lie on
    local_error  what is left between a record and its law, by row and by channel
    arithmetic   the precision that a side computed in
    evaluate     all laws of a pair of captures, and the layers that do not keep to theirs
    causes       which one change of a law explains a layer's local error
"""
