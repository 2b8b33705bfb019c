"""The app: `python app.py`, here or on a Space. `python app.py --help` lists the options."""

import sys

from sdgen.launch import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
