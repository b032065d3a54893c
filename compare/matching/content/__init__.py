"""Pairs by values, for records whose names say nothing."""
