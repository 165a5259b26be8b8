"""What clients may ask for: OpenAI's fields, and a few more that local servers share.

Unknown fields are ignored, as OpenAI does; a wrong type is an error; and a field that is known, is
not supported and would change the answer is refused rather than dropped in silence.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from openk2.core.generation import SamplingOptions
from openk2.serving.api_errors import bad_request

__all__ = [
    "ChatRequest",
    "CompletionRequest",
    "DetokenizeRequest",
    "GenerationFields",
    "TokenizeRequest",
]

MAX_CHOICES = 128  # n, as OpenAI has it
MAX_STOPS = 16
MAX_ALTERNATIVES = 20  # top_logprobs, as OpenAI has it

Count = Annotated[int, Field(ge=0, lt=2**31)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]


class Fields(BaseModel):
    """JSON types as they are: "1" is no number and 1 no truth value."""

    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


class StreamOptions(Fields):
    include_usage: bool = False


class GenerationFields(Fields):
    """What chat and plain completions share."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Count | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: list[str] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    response_format: dict[str, Any] | None = None
    # Beyond OpenAI's:
    top_k: Count | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_limit: Count | None = None
    stop_token_ids: list[TokenId] | None = None
    ignore_eos: bool = False
    return_token_ids: bool = False

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_several(cls, stop: Any) -> Any:
        stops = [stop] if isinstance(stop, str) else stop
        if isinstance(stops, list):
            if len(stops) > MAX_STOPS:
                raise ValueError(f"at most {MAX_STOPS} stop strings")
            if "" in stops:
                raise ValueError("an empty stop string, which every text contains")
        return stops

    @field_validator("frequency_penalty", "presence_penalty")
    @classmethod
    def _no_penalty(cls, penalty: float | None) -> float | None:
        if penalty:
            raise ValueError("penalties are not supported; leave it out or give 0")
        return penalty

    @model_validator(mode="after")
    def _options_of_a_stream(self) -> "GenerationFields":
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options goes with stream = true alone")
        return self

    def sampling_options(
        self, stop_tokens: tuple[int, ...], vocabulary_size: int, max_tokens: int, top: int
    ) -> SamplingOptions:
        """The engine's options; `top` alternatives are recorded at each position."""
        bias: dict[int, float] = {}
        for key, value in (self.logit_bias or {}).items():
            if not (key.isascii() and key.isdecimal() and len(key) < 10):
                raise bad_request(f"{key[:40]!r} is not a token id", "logit_bias")
            bias[int(key)] = value
        extra = tuple(self.stop_token_ids or ())
        for token, param in [
            *((t, "logit_bias") for t in bias),
            *((t, "stop_token_ids") for t in extra),
        ]:
            if token >= vocabulary_size:
                message = f"token {token} is not in the vocabulary of {vocabulary_size}"
                raise bad_request(message, param)
        return SamplingOptions(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=self.top_k or 0,
            min_p=self.min_p or 0.0,
            max_tokens=max_tokens,
            seed=self.seed,
            stop=tuple(self.stop or ()),
            stop_tokens=extra if self.ignore_eos else (*stop_tokens, *extra),
            logit_bias=bias,
            top_log_probs=top,
            repetition_limit=self.repetition_limit or 0,
        )


class CompletionRequest(GenerationFields):
    """POST /v1/completions"""

    prompt: Any = None
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_ALTERNATIVES)] | None = None
    suffix: str | None = None
    add_special_tokens: bool = False  # begin a text prompt with [BOS]

    @field_validator("suffix")
    @classmethod
    def _no_suffix(cls, suffix: str | None) -> str | None:
        if suffix:
            raise ValueError("text cannot be inserted before a suffix; leave it out")
        return suffix

    @model_validator(mode="after")
    def _best_of_what(self) -> "CompletionRequest":
        if self.best_of is not None and self.best_of < (self.n or 1):
            raise ValueError("best_of is smaller than n")
        if self.best_of is not None and self.best_of > (self.n or 1) and self.stream:
            raise ValueError("the best of several cannot be streamed; leave out best_of or stream")
        return self


class ChatRequest(GenerationFields):
    """POST /v1/chat/completions"""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_ALTERNATIVES)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: Any = None
    function_call: Any = None
    modalities: list[str] | None = None
    audio: Any = None
    web_search_options: Any = None

    @field_validator("tool_choice", mode="before")
    @classmethod
    def _choice(cls, choice: Any) -> Any:
        if not isinstance(choice, str | dict | None):
            raise ValueError('it must be "none", "auto", "required" or an object')
        return choice

    @field_validator("functions", "function_call", "audio", "web_search_options")
    @classmethod
    def _unsupported(cls, value: Any) -> Any:
        if value:
            raise ValueError("not supported; leave it out (functions are now called tools)")
        return value

    @field_validator("modalities")
    @classmethod
    def _text_alone(cls, modalities: list[str] | None) -> list[str] | None:
        if modalities and modalities != ["text"]:
            raise ValueError("only text is supported")
        return modalities

    @model_validator(mode="after")
    def _alternatives_to_what(self) -> "ChatRequest":
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs goes with logprobs = true")
        return self


class TokenizeRequest(Fields):
    """POST /tokenize: of a text, or of a dialog as the chat format renders it."""

    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    add_generation_prompt: bool = True
    add_special_tokens: bool = False
    return_token_strs: bool = False

    @model_validator(mode="after")
    def _one_of_two(self) -> "TokenizeRequest":
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        return self


class DetokenizeRequest(Fields):
    """POST /detokenize"""

    tokens: list[TokenId]
