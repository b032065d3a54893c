"""Captures that several processes wrote: which records are parts of one tensor, and what the whole
is made of.
"""
