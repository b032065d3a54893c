"""Stages of a pipeline: which layers of the whole model a rank has."""
