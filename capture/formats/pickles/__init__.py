"""Torch's files and pickles: tensors, arrays and containers, by an unpickler that runs nothing."""
