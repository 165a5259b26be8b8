"""One HTTP request to an endpoint, and what its failure means. The one file that imports openai."""

import asyncio
from typing import Any

import httpx2
import openai

from openk2.core.errors import UserError
from openk2.integrations.endpoint_failures import TransientFailure, one_line, retry_after

__all__ = ["OpenAITransport"]

# What these say may be true no more in a moment; OVERLOADED also says that we ask too much at once.
# 529 is Anthropic's and others' "overloaded".
OVERLOADED = (408, 429, 503, 504, 529)
# A 429 that waiting does not help, in OpenAI's words.
NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached")
NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)

FIXES = {
    401: "check the API key",
    403: "check the API key and what it may do",
    404: "check the base URL and the model's name",
}


class OversizedAnswer(openai.OpenAIError):
    """A body beyond the limit, or packed so that its size shows too late."""


class BoundedClient(openai.DefaultAsyncHttpxClient):
    """Reads each body, an error's too, while sending, and no more of it than allowed.

    So whatever breaks while a body arrives breaks inside `send`, where the openai client expects
    it.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(headers={"Accept-Encoding": "gzip, deflate"})
        self._limit = limit

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **options: Any
    ) -> httpx2.Response:
        response = await super().send(request, stream=True, **options)
        try:
            # These two grow at most a thousandfold, chunk by chunk; others can do that in one go.
            encoding = response.headers.get("content-encoding", "identity")
            if encoding not in ("identity", "gzip", "deflate"):
                raise OversizedAnswer(f"the answer is packed as {one_line(encoding, 40)!r}")
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > self._limit:
                    raise OversizedAnswer(f"the answer is longer than {self._limit:,} bytes")
        finally:
            await response.aclose()
        about_the_body = ("content-encoding", "content-length", "transfer-encoding")
        headers = [item for item in response.headers.items() if item[0] not in about_the_body]
        return httpx2.Response(
            response.status_code, headers=headers, content=bytes(body), request=request
        )


class OpenAITransport:
    """Sends bodies to one endpoint for one model."""

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None,
        *,
        timeout: float,
        longest_retry_after: float,
        max_answer_bytes: int,
    ) -> None:
        self.where = f"{base_url}: model {model!r}"
        self._api_key = api_key
        self._timeout = timeout
        self._longest_retry_after = longest_retry_after
        self._headers: dict[str, str | openai.Omit] = {"Content-Type": "application/json"}
        if api_key is None:
            self._headers["Authorization"] = openai.Omit()
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key or "none",
            max_retries=0,
            timeout=openai.Timeout(timeout, connect=min(timeout, 15.0)),
            http_client=BoundedClient(max_answer_bytes),
        )

    async def post(self, route: str, body: bytes) -> str:
        """The text of the answer.

        Raises TransientFailure where another attempt may succeed and UserError where none can.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._client.post(
                    route, cast_to=str, content=body, options={"headers": self._headers}
                )
        except openai.APIStatusError as error:
            raise self._status_failure(error) from error
        except (openai.APITimeoutError, TimeoutError) as error:
            raise TransientFailure(
                f"no answer within {self._timeout:g} seconds",
                overloaded=True,
                free=isinstance(error.__cause__, NEVER_SENT),
            ) from error
        except openai.APIConnectionError as error:
            cause = error.__cause__
            raise TransientFailure(
                f"the connection failed: {type(cause).__name__}: {one_line(str(cause))}",
                free=isinstance(cause, NEVER_SENT),
            ) from error
        except OversizedAnswer as error:
            raise TransientFailure(str(error)) from error

    async def close(self) -> None:
        await self._client.close()

    def _status_failure(self, error: openai.APIStatusError) -> Exception:
        status = error.status_code
        said = f"HTTP {status}: {self._message(error)}"
        if status == 429 and error.code in NO_MONEY:
            return UserError(f"{self.where}: {said}; pay, or use another API key")
        if status not in OVERLOADED and status < 500:
            fix = FIXES.get(status, "change the request")
            return UserError(f"{self.where}: the request is refused: {said}; {fix}")
        return TransientFailure(
            said,
            overloaded=status in OVERLOADED,
            retry_after=retry_after(
                error.response.headers.get("retry-after"), self._longest_retry_after
            ),
            free=True,
        )

    def _message(self, error: openai.APIStatusError) -> str:
        """What the server said, without the key, which some servers repeat."""
        body = error.body
        if isinstance(body, dict):
            body = body.get("message") or body.get("detail")
        text = body if isinstance(body, str) else error.response.text
        return one_line(text.replace(self._api_key, "***") if self._api_key else text)
