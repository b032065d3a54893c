"""`python -m layertui.cli`: the program where its script is not on the path."""

from .main import run

if __name__ == "__main__":
    run()
