"""The chat page at GET /: one static file, and headers that let it do nothing but its work."""

import base64
import hashlib
import re
from importlib.resources import files

from fastapi import APIRouter, Response

__all__ = ["page_router"]


def page_router() -> APIRouter:
    """The route of the page."""
    page = files("openk2.serving").joinpath("assets", "chat.html").read_text(encoding="utf-8")
    headers = {
        "Content-Security-Policy": _policy(page),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }
    router = APIRouter()

    @router.get("/", include_in_schema=False)
    def chat_page() -> Response:
        return Response(page, media_type="text/html; charset=utf-8", headers=headers)

    return router


def _policy(page: str) -> str:
    """The page's own script and style run, by their hashes; requests go to this server alone.

    Should a model's text ever be taken for markup, the browser runs none of it; and with trusted
    types demanded and none defined, no script can turn text into markup in the first place.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash_of('script', page)}",
            f"style-src {_hash_of('style', page)}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash_of(element: str, page: str) -> str:
    (content,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
