"""POST /tokenize and /detokenize, as vLLM has them."""

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from openk2.serving.api_errors import bad_request
from openk2.serving.chat import dialog_tokens
from openk2.serving.chat_messages import read_tools
from openk2.serving.log_probs import token_name
from openk2.serving.request_models import DetokenizeRequest, TokenizeRequest
from openk2.serving.service import Service

__all__ = ["router"]

router = APIRouter()


@router.post("/tokenize")
async def tokenize(request: Request) -> dict[str, Any]:
    service: Service = request.app.state.service
    asked = await service.read(request, TokenizeRequest)
    tokens = await asyncio.to_thread(_tokens, asked, service)
    answer = {"count": len(tokens), "max_model_len": service.context, "tokens": tokens}
    if asked.return_token_strs:
        table = service.tokenizer.token_table()
        answer["token_strs"] = [token_name(table[token]) for token in tokens]
    return answer


def _tokens(asked: TokenizeRequest, service: Service) -> list[int]:
    if asked.messages is not None:
        tools = read_tools(asked.tools)
        return dialog_tokens(service, asked.messages, tools, asked.add_generation_prompt)[1]
    assert asked.prompt is not None  # the model has checked that there is one of the two
    begin = [service.tokenizer.special["[BOS]"]] * asked.add_special_tokens
    return begin + service.tokenizer.encode(asked.prompt)


@router.post("/detokenize")
async def detokenize(request: Request) -> dict[str, str]:
    service: Service = request.app.state.service
    asked = await service.read(request, DetokenizeRequest)
    size = service.tokenizer.vocabulary_size
    if any(token >= size for token in asked.tokens):
        raise bad_request(f"a token id is not in the vocabulary of {size}", "tokens")
    return {"prompt": service.tokenizer.decode(asked.tokens)}
