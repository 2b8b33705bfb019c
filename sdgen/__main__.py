"""`python -m sdgen`: the command line, which is sdgen.cli."""

from sdgen.cli import app, main

__all__ = ["app", "main"]

if __name__ == "__main__":
    main()
