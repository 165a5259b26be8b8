"""POST /v1/completions: plain text, continued; and a text's own log-probabilities (echo)."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from openk2.inference.requests import GenerationRequest, TokenScore, Update
from openk2.serving.answering import collect, pieces, scored_tokens
from openk2.serving.api_errors import bad_request
from openk2.serving.chat_messages import read_response_format
from openk2.serving.event_stream import EventStream
from openk2.serving.log_probs import ScoredToken, TextLogProbs
from openk2.serving.request_models import CompletionRequest
from openk2.serving.sample_text import SampleText
from openk2.serving.service import Service, while_connected
from openk2.serving.usage import Usage
from openk2.tokenizer import Tokenizer

__all__ = ["router"]

router = APIRouter()
DEFAULT_MAX_TOKENS = 16  # as OpenAI has it


@router.post("/v1/completions")
async def completions(request: Request) -> Response:
    service: Service = request.app.state.service
    asked = await service.read(request, CompletionRequest)
    service.check_model(asked.model)
    generations = await asyncio.to_thread(_generations, asked, service)
    exchange = service.desk.submit(generations)
    try:
        await while_connected(request, exchange.accepted())
        kept, drawn = asked.n or 1, generations[0].samples
        choices = {
            (position, sample): TextChoice(
                position * kept + sample, asked, generation, service.tokenizer
            )
            for position, generation in enumerate(generations)
            for sample in range(drawn)
        }
        usage = Usage(generations, shown=asked.max_tokens != 0)
        head = service.head("text_completion", "cmpl")
        if asked.stream:
            options = asked.stream_options
            include_usage = options is not None and options.include_usage
            return EventStream(exchange, pieces(exchange, choices, usage, head, include_usage))
        await while_connected(request, collect(exchange, choices, usage))
    except BaseException:
        exchange.close()
        raise
    exchange.close()
    whole = []
    for position in range(len(generations)):
        ranked = [choices[position, sample] for sample in range(drawn)]
        if drawn > kept:
            ranked.sort(key=lambda choice: choice.mean_log_prob, reverse=True)
        for sample, choice in enumerate(ranked[:kept]):
            whole.append({**choice.whole(), "index": position * kept + sample})
    return JSONResponse({**head, "choices": whole, "usage": usage.report()})


def _generations(asked: CompletionRequest, service: Service) -> list[GenerationRequest]:
    """One for each prompt."""
    # The engine draws at least one token; `TextChoice` leaves it out where none was asked for.
    wanted = DEFAULT_MAX_TOKENS if asked.max_tokens is None else max(asked.max_tokens, 1)
    constraint = read_response_format(asked.response_format)
    made = []
    for prompt in _prompts(asked, service):
        max_tokens = service.new_tokens(len(prompt), wanted, "prompt")
        options = service.options(asked, max_tokens, asked.logprobs or 0)
        made.append(
            GenerationRequest(
                prompt=prompt,
                options=options,
                samples=asked.best_of or asked.n or 1,
                constraint=constraint,
                prompt_log_probs=bool(asked.echo) and asked.logprobs is not None,
            )
        )
    return made


def _prompts(asked: CompletionRequest, service: Service) -> list[tuple[int, ...]]:
    """A string, a list of strings, tokens, or a list of token lists."""
    prompt = "" if asked.prompt is None else asked.prompt
    several = prompt if isinstance(prompt, list) else [prompt]
    if not several:
        raise bad_request("it is empty", "prompt")
    if len(several) > service.desk.capacity and not isinstance(several[0], int):
        raise bad_request(f"more than {service.desk.capacity} prompts", "prompt")
    texts = [one for one in several if isinstance(one, str)]
    if len(texts) == len(several):
        for text in texts:
            service.check_length(len(text), "prompt")
        begin = service.tokenizer.special["[BOS]"]
        return [
            (begin,) * (asked.add_special_tokens or not text)
            + tuple(service.tokenizer.encode(text))
            for text in texts
        ]
    lists = [one for one in several if isinstance(one, list)]
    if len(lists) < len(several):
        lists = [several]
    size = service.desk.engine.vocabulary_size
    for tokens in lists:
        if not tokens:
            raise bad_request("a prompt has at least one token", "prompt")
        for token in tokens:
            if type(token) is not int:
                message = "it must be a string, a list of strings, token ids or lists of token ids"
                raise bad_request(message, "prompt")
            if not 0 <= token < size:
                message = f"a token id is not in the vocabulary of {size}"
                raise bad_request(message, "prompt")
    return [tuple(tokens) for tokens in lists]


class TextChoice:
    """One choice of a completion."""

    def __init__(
        self,
        index: int,
        asked: CompletionRequest,
        generation: GenerationRequest,
        tokenizer: Tokenizer,
    ) -> None:
        self._index = index
        self._prompt = generation.prompt
        self._text = SampleText(tokenizer, generation.options)
        self._log_probs = None
        if asked.logprobs is not None:
            self._log_probs = TextLogProbs(tokenizer, asked.logprobs)
        self._begun = False
        self._echo, self._silent = bool(asked.echo), asked.max_tokens == 0
        self._show_ids = asked.return_token_ids
        self._prompt_scores: list[ScoredToken] = []
        self._shown: list[dict[str, Any]] = []
        self._drawn: list[float] = []

    @property
    def mean_log_prob(self) -> float:
        """Of the tokens drawn: what the best of several is best at."""
        return sum(self._drawn) / max(len(self._drawn), 1)

    def begin(self, prompt_scores: Sequence[TokenScore]) -> None:
        self._prompt_scores = [(self._prompt[0], None, ())]
        self._prompt_scores += [(score.token, score.log_prob, score.top) for score in prompt_scores]

    def feed(self, update: Update) -> dict[str, Any] | None:
        if self._silent:
            update = replace(update, tokens=(), log_probs=(), top=())
            if update.finish_reason is not None:
                update = replace(update, finish_reason="length")
        self._drawn += update.log_probs
        piece: dict[str, Any] = {"index": self._index, "text": "", "logprobs": None}
        scored = scored_tokens(update)
        if not self._begun:
            self._begun = True
            if self._echo:
                piece["text"] = self._text.echo(self._prompt)
                scored = self._prompt_scores + scored
            if self._show_ids:
                piece["prompt_token_ids"] = list(self._prompt)
        piece["text"] += self._text.feed(update.tokens)
        if update.finish_reason is not None:
            piece["text"] += self._text.finish()
        if self._log_probs is not None:
            piece["logprobs"] = self._log_probs.piece(scored)
        if self._show_ids:
            piece["token_ids"] = list(update.tokens)
        piece["finish_reason"] = update.finish_reason
        self._shown.append(piece)
        silent = not (piece["text"] or update.finish_reason or scored)
        return None if silent else piece

    def whole(self) -> dict[str, Any]:
        whole = {**self._shown[0], "finish_reason": self._shown[-1]["finish_reason"]}
        for piece in self._shown[1:]:
            whole["text"] += piece["text"]
            if self._show_ids:
                whole["token_ids"] += piece["token_ids"]
            if whole["logprobs"] is not None:
                for name, values in piece["logprobs"].items():
                    if values is not None:
                        whole["logprobs"][name] += values
        return whole
