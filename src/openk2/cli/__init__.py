"""The command `k2`. Commands import what they need when they run, so that --help is instant."""

import errno
import io
import os
import signal
import sys
from collections.abc import Sequence

from openk2.cli.complaint import complain
from openk2.cli.parser import parse
from openk2.core.device import limit_spinning
from openk2.core.errors import UserError
from openk2.core.run_folder import FULL_DISK

__all__ = ["main"]

# What the user's disk, paths and permissions can cause; any other OSError is a bug.
OUTSIDE = {
    *FULL_DISK,
    *(errno.EFBIG, errno.EIO, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG),
}
INTERRUPTED, BROKEN_PIPE = 128 + signal.SIGINT, 128 + signal.SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 2 when the user's input was wrong."""
    for stream in (sys.stdout, sys.stderr):
        # Text that the terminal's encoding lacks must not end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = parse(sys.argv[1:] if arguments is None else arguments)
    limit_spinning()
    try:
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except UserError as error:
        message = str(error)
    except KeyboardInterrupt:
        # Only a run, which has a --dry-run and is not one, leaves something to go on with.
        resumes = not getattr(options, "dry_run", True)
        print(f"k2: interrupted{'; the same command resumes' * resumes}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away, as `head` does; what is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in OUTSIDE:
            raise
        message = f"{error.filename or options.where or 'output'}: {os.strerror(error.errno)}"
        if error.errno in FULL_DISK:
            message += "; free some space and give the same command again"
    complain(message)
    return 2
