"""The folders at the top become sub-packages of `layertui`; every folder below them is found.

One module is compiled, where there is a compiler: without it everything works, by numpy and slower.
"""

import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, find_packages, setup

FOLDERS = ("capture", "compare", "tui", "cli")
SOURCES = Path("compare/measuring/c")  # setuptools wants paths relative to this file

# One build for all later versions of Python; buffers are in the stable interface since 3.11.
STABLE = sys.version_info >= (3, 11) and not sysconfig.get_config_var("Py_GIL_DISABLED")

COMPILED = Extension(
    "layertui.compare.measuring.compiled",
    sources=[str(SOURCES / "module.c")],
    depends=[str(path) for path in sorted(SOURCES.glob("*.h"))],
    # Products are not fused with sums: tolerances are counted as numpy counts them.
    extra_compile_args=["-std=c11", "-O3", "-ffp-contract=off", "-fno-strict-aliasing",
                        "-fno-math-errno",
                        "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-psabi"],
    libraries=["m"],
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if STABLE else [],
    py_limited_api=STABLE,
    optional=True,
)  # fmt: skip

setup(
    packages=[f"layertui.{name}" for name in find_packages(include=[f"{f}*" for f in FOLDERS])],
    package_dir={f"layertui.{folder}": folder for folder in FOLDERS},
    ext_modules=[COMPILED],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE else {},
)
