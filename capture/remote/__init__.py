"""Captures that are named by a URL: object stores and web servers, read through fsspec."""
