"""What every route needs: the engine's desk, the tokenizer, the chat format, the limits."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from uuid import uuid4

from starlette.requests import Request

from openk2.core.errors import UserError
from openk2.core.generation import SamplingOptions
from openk2.serving.api_errors import ApiError, bad_request
from openk2.serving.exchange import Desk
from openk2.serving.request_body import Model, read_model
from openk2.serving.request_models import GenerationFields
from openk2.tokenizer import ChatFormat, Tokenizer
from openk2.tokenizer.chat_format import Declarations, Thinking

__all__ = ["ServerSettings", "Service", "while_connected"]

Result = TypeVar("Result")


@dataclass(frozen=True)
class ServerSettings:
    """How the server treats its clients.

    host, port     where it listens; port 0 takes a free one
    api_key        what clients have to send; None lets everyone in who can reach the server
    insecure       listen beyond this machine without a key
    max_queue      sequences that may wait for a lane; more are answered 429
    timeout        seconds for a whole request
    body_limit     bytes of a request's body
    body_timeout   seconds for the request's head, for its body, and for a client to take what is
                   written to it
    connections    open at a time
    grace          seconds for running requests when the server is told to stop
    cors_origins   web sites whose pages may use the API; "*" for all
    thinking, declarations   of `ChatFormat`
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = None
    insecure: bool = False
    max_queue: int = 256
    timeout: float = 600.0
    body_limit: int = 4 * 2**20
    body_timeout: float = 15.0
    connections: int = 512
    grace: float = 10.0
    cors_origins: tuple[str, ...] = ()
    thinking: Thinking = "off"
    declarations: Declarations = "json"

    def __post_init__(self) -> None:
        """UserError naming the setting that is out of range."""
        if self.max_queue < 0:
            raise UserError(f"--max-queue {self.max_queue}: it must be 0 or more")
        if not self.timeout > 0:
            raise UserError(f"--timeout {self.timeout:g}: it must be above 0 seconds")
        if self.api_key == "":
            raise UserError("the API key is empty; give one, or none at all")


@dataclass
class Service:
    """One running server."""

    settings: ServerSettings
    desk: Desk
    chat_format: ChatFormat
    fingerprint: str
    started: int = field(default_factory=lambda: int(time.time()))  # seconds since 1970

    @property
    def tokenizer(self) -> Tokenizer:
        return self.chat_format.tokenizer

    @property
    def model(self) -> str:
        return self.desk.engine.model_name

    @property
    def context(self) -> int:
        """Tokens of a prompt and its continuation together."""
        length: int = self.desk.engine.context_length
        return length

    async def read(self, request: Request, model: type[Model]) -> Model:
        """The request's body; ApiError as `read_model`."""
        return await read_model(
            request, model, self.settings.body_limit, self.settings.body_timeout
        )

    def check_model(self, name: str | None) -> None:
        """404 for another model than ours: answering as one that was not asked misleads."""
        if name is not None and name != self.model:
            message = f"there is no model {name[:100]!r} here; this server has {self.model!r}"
            raise ApiError(404, message, param="model", code="model_not_found")

    @cached_property
    def _longest_token(self) -> int:
        return max(len(spelled) for spelled in self.tokenizer.token_table())

    def check_length(self, characters: int, param: str) -> None:
        """400 for a text that cannot fit, before time is spent on tokenizing it."""
        if characters > self.context * self._longest_token:
            raise self._too_long(f"{characters} characters", param)

    def new_tokens(self, prompt: int, wanted: int | None, param: str) -> int:
        """How many tokens may follow a prompt of that many; ApiError where none may."""
        room = self.context - prompt
        if room < 1:
            raise self._too_long(f"{prompt} tokens", param)
        return room if wanted is None else min(wanted, room)

    def _too_long(self, length: str, param: str) -> ApiError:
        message = f"{length} are too long for the context of {self.context} tokens"
        return bad_request(message, param, "context_length_exceeded")

    def options(self, fields: GenerationFields, max_tokens: int, top: int) -> SamplingOptions:
        """The engine's sampling options for a request."""
        size = self.desk.engine.vocabulary_size
        return fields.sampling_options(self.chat_format.stop_tokens, size, max_tokens, top)

    def head(self, kind: str, prefix: str) -> dict[str, Any]:
        """The fields that every answer, and every piece of one, begins with."""
        return {
            "id": f"{prefix}-{uuid4().hex}",
            "object": kind,
            "created": int(time.time()),
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


async def while_connected(request: Request, work: Awaitable[Result]) -> Result:
    """`work`'s result; it is cancelled when the client goes away (ApiError 499, which none reads).

    To be used when the body has been read.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ApiError(499, "the client went away", code="client_disconnected")
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
