"""Who may ask: the API key, and what keeps a web page elsewhere from using a local server.

A page on any site can make a visitor's browser send requests to 127.0.0.1. What gives it away are
two headers that it cannot change: Host, when the site's own name was made to point here (DNS
rebinding), and Origin.
"""

import hmac
from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from openk2.serving.api_errors import ApiError

__all__ = ["LOOPBACK_NAMES", "AccessControl"]

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
# The page has a field for the key, and whoever watches over the server need not have one.
OPEN_PATHS = frozenset({"/", "/health"})


class AccessControl:
    """ASGI: answers 401 and 403 itself.

    hosts     names that Host may hold, without port; None for any
    origins   web sites that may use the API beside the server's own page; "*" for any
    """

    def __init__(
        self,
        app: ASGIApp,
        api_key: str | None,
        hosts: Collection[str] | None,
        origins: Collection[str],
    ) -> None:
        self._app = app
        self._expected = None if api_key is None else f"bearer {api_key}".encode()
        self._hosts, self._origins = hosts, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._refusal(scope["path"], dict(scope["headers"]))
            if refusal is not None:
                await refusal.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, path: str, headers: dict[bytes, bytes]) -> ApiError | None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        # Every browser sends a Host.
        if host and self._hosts is not None and _without_port(host) not in self._hosts:
            return ApiError(403, "the Host header names another server", code="host_not_allowed")
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        own = origin.partition("://")[2] == host
        if origin and not own and not {origin, "*"}.intersection(self._origins):
            message = "a web page of another origin; allow it with --cors-origin"
            return ApiError(403, message, code="origin_not_allowed")
        if self._expected is not None and path not in OPEN_PATHS:
            scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
            given = scheme.lower() + b" " + key.strip()
            if not hmac.compare_digest(given, self._expected):
                return ApiError(
                    401,
                    "no valid API key; send it as Authorization: Bearer KEY",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        return None


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
