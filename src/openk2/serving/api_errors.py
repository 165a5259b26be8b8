"""Errors in OpenAI's shape: {"error": {"message", "type", "param", "code"}}."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.responses import JSONResponse

__all__ = ["ApiError", "bad_request", "overloaded"]


class ApiError(Exception):
    """An answer other than 200.

    message   what is wrong and how to mend it; shown to the client
    param     the field of the request that is wrong, as OpenAI writes it: messages[0].content
    code      a word for programs
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = headers

    def body(self) -> dict[str, Any]:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> "JSONResponse":
        # Imported here: the terminal chat reads tools through this package without a web server.
        from starlette.responses import JSONResponse

        return JSONResponse(self.body(), self.status, self.headers)


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """The client has to change the request."""
    return ApiError(400, message, param=param, code=code)


def overloaded(message: str) -> ApiError:
    """The client should come back in a second."""
    return ApiError(429, message, code="queue_full", headers={"Retry-After": "1"})
