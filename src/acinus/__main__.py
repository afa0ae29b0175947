"""``python -m acinus``: the same as the program ``acinus``."""

import sys

from acinus.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
