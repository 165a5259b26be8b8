"""python -m openk2.cli."""

import sys

from openk2.cli import main

if __name__ == "__main__":
    sys.exit(main())
