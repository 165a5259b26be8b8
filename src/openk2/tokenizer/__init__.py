"""Text to token ids and back: byte-level BPE, and Kimi K2's chat format on top of it."""

from openk2.tokenizer.assistant_stream import AssistantStream, Delta
from openk2.tokenizer.bpe import SPECIAL_TOKENS, Tokenizer
from openk2.tokenizer.chat_format import DEFAULT_SYSTEM, ChatFormat, RenderedDialog
from openk2.tokenizer.chat_template import chat_template
from openk2.tokenizer.stream_decoder import StreamDecoder

__all__ = [
    "SPECIAL_TOKENS",
    "Tokenizer",
    "StreamDecoder",
    "DEFAULT_SYSTEM",
    "ChatFormat",
    "RenderedDialog",
    "chat_template",
    "AssistantStream",
    "Delta",
]
