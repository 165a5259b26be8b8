"""What the command says when something is wrong."""

import sys

from openk2.core.terminal import printable

__all__ = ["complain"]


def complain(message: str) -> None:
    """One line on the standard error, whatever names and paths the message holds."""
    print(f"k2: {' '.join(printable(message).splitlines())}", file=sys.stderr)
