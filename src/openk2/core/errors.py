"""The one error that a user's input can cause."""

__all__ = ["UserError"]


class UserError(Exception):
    """Something the user gave is wrong: the message is one line that says what, where and the fix.

    The command line prints it and exits with code 2.
    """
