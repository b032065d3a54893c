# What one runs while working; `.ci/run` runs everything. `just --list` shows the names.

python := ".venv/bin/python"
export OMP_NUM_THREADS := "1"

# Environment with everything but MAX
setup:
    python3 -m venv .venv
    .venv/bin/pip install -c constraints.txt -e '.[test,test-remote,test-torch,dev]'

# Style, types and import rules, without tests
check:
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .
    .venv/bin/lint-imports
    .venv/bin/pyright --pythonpath {{python}}

# Format, and repair what can be repaired
format:
    .venv/bin/ruff format .
    .venv/bin/ruff check --fix .

# The fast lane: tests of one process, no terminals, no models
fast *args:
    {{python}} -m pytest -q -n 2 --dist worksteal -m 'not slow' {{args}}

# One test or file: just one tests/capture/formats/test_numpy_file.py -k versions
one +args:
    {{python}} -m pytest -q -x {{args}}

# Write the snapshots of the screens anew; look at what changed before you commit
snap *args:
    {{python}} -m pytest -q tests/tui/test_snapshots.py --snapshot-update {{args}}

# Everything that must pass
all:
    .ci/run
