"""The folders at the top become sub-packages of `layertui`; every folder below them is found."""

from setuptools import find_packages, setup

FOLDERS = ("capture", "compare", "tui", "cli")

setup(
    packages=[f"layertui.{name}" for name in find_packages(include=[f"{f}*" for f in FOLDERS])],
    package_dir={f"layertui.{folder}": folder for folder in FOLDERS},
)
