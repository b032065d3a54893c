"""The weights of a checkpoint: what tensors there are and where each lies. Nothing is loaded."""

from .opening import open_weights
from .parameters import Parameter, Weights

__all__ = ["Parameter", "Weights", "open_weights"]
