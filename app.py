"""The app: `python app.py`, here or on a Space. `python app.py --help` lists the options."""

import sys

from sdgen.launch import end, main

if __name__ == "__main__":
    end(main(sys.argv[1:]))
