"""A request's body as a validated model; whatever the bytes are, the answer is a value or a 4xx."""

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request

from openk2.serving.api_errors import ApiError, bad_request

__all__ = ["read_model"]

Model = TypeVar("Model", bound=BaseModel)

# A client that is cut off while it still sends may never read why; so what is too long is read and
# thrown away first, within reason.
DRAINED_LIMITS = 16
CLOSE = {"Connection": "close"}


async def read_model(request: Request, model: type[Model], limit: int, seconds: float) -> Model:
    """Read at most `limit` bytes within `seconds` and validate them.

    Raises ApiError: 413, 408, or 400 naming the field.
    """
    body = await _read(request, limit, seconds)
    try:
        # Rust's parser limits the depth and refuses NaN, lone surrogates and invalid UTF-8.
        parsed = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise bad_request(f"the body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(parsed, dict):
        raise bad_request("the body must be a JSON object", code="invalid_json")
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        param = _path(first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise bad_request(f"{param or 'the request'}: {message}", param) from None


async def _read(request: Request, limit: int, seconds: float) -> bytes:
    too_long = ApiError(
        413,
        f"the body is longer than {limit} bytes",
        code="request_too_large",
        headers=CLOSE,
    )
    announced = request.headers.get("content-length", "")
    if "expect" in request.headers and announced.isdecimal() and int(announced[:20]) > limit:
        raise too_long
    body = bytearray()
    received = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                received += len(chunk)
                if received <= limit:
                    body += chunk
                elif received > DRAINED_LIMITS * limit:
                    raise too_long
    except TimeoutError:
        message = f"the body did not arrive within {seconds:g} seconds"
        raise ApiError(408, message, code="request_timeout", headers=CLOSE) from None
    except ClientDisconnect:
        raise ApiError(499, "the client went away", code="client_disconnected") from None
    if received > limit:
        raise too_long
    return bytes(body)


def _path(location: Sequence[int | str]) -> str | None:
    """('messages', 0, 'content') -> messages[0].content"""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or None
