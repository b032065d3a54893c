"""`layertui.hpp`, the header by which C++ programs write captures, and where it lies."""

from __future__ import annotations

from pathlib import Path


def include_directory() -> str:
    """The directory for the compiler: `g++ -std=c++17 -I DIRECTORY engine.cpp`."""
    return str(Path(__file__).parent)
