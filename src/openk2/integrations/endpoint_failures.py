"""What goes wrong with a request to an endpoint, and how long it is worth trying again."""

import math
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from openk2.core.errors import UserError
from openk2.core.terminal import printable

__all__ = ["EndpointUnavailable", "RetryPolicy", "TransientFailure", "one_line", "retry_after"]


class EndpointUnavailable(UserError):
    """Every attempt failed in a way that may pass: not the fault of what was asked."""


class TransientFailure(Exception):
    """One attempt failed and the next may not.

    detail        the cause in one line
    overloaded    the endpoint has too much to do: ask less at once
    retry_after   seconds that it wants to be left alone
    free          known to have cost nothing
    """

    def __init__(
        self, detail: str, *, overloaded: bool = False, retry_after: float = 0.0, free: bool = False
    ) -> None:
        super().__init__(detail)
        self.overloaded = overloaded
        self.retry_after = retry_after
        self.free = free


@dataclass(frozen=True)
class RetryPolicy:
    """When to try again, in seconds but for `attempts`.

    The wait before attempt n + 1 is drawn evenly between 0 and first_wait * 2^(n - 1), at most
    longest_wait ("full jitter"), or what the endpoint asked for, if that is more.

    attempts              requests sent at most
    total_time            stop when working and waiting would take longer; waiting for a turn among
                          one's own requests does not count
    longest_retry_after   an endpoint that asks for more is asked again after this
    """

    attempts: int = 6
    total_time: float = 900.0
    first_wait: float = 0.5
    longest_wait: float = 30.0
    longest_retry_after: float = 60.0


def retry_after(header: str | None, longest: float) -> float:
    """Seconds that a Retry-After header (RFC 9110, 10.2.3) asks for: 0 to `longest`."""
    if header is None:
        return 0.0
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), longest) if math.isfinite(seconds) else 0.0


def one_line(text: str, length: int = 300) -> str:
    """What a server said, fit to stand in an error message: no half surrogate pairs either."""
    line = printable(" ".join(text[: 4 * length].split())).encode(errors="replace").decode()
    return line if len(line) <= length else line[: length - 3] + "..."
