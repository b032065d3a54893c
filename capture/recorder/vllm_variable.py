"""The environment variable that has vLLM's workers recorded."""

VARIABLE = "LAYERTUI_CAPTURE"
