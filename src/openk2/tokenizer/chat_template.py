"""The chat format as a Jinja template, for tools that render dialogs themselves.

It reads messages as OpenAI's API has them (content a text, null or a list of text parts;
`reasoning_content`, `tool_calls`, `tool_call_id`, `name`) and writes what
`ChatFormat.render_text` writes. What it is given besides, all optional: `tools`,
`add_generation_prompt`, and `tools_ts_str`, a finished declaration in place of the JSON one.

It joins texts, so whoever tokenizes the result turns special tokens typed by a user into special
tokens. `ChatFormat.render` does not.
"""

from openk2.tokenizer.chat_format import DEFAULT_SYSTEM, Thinking

__all__ = ["chat_template"]

# Every line break is stripped; those of the format stand in the texts.
HEAD = """
{%- macro text(content) -%}
    {%- if content is string -%}
        {{- content -}}
    {%- else -%}
        {%- for part in content or [] -%}{{- part['text'] -}}{%- endfor -%}
    {%- endif -%}
{%- endmacro -%}

{%- set envelopes = {'user': '<|im_user|>', 'assistant': '<|im_assistant|>'} -%}
{%- set calls = namespace(made=0) -%}

{%- if tools -%}
    {{- '<|im_system|>tool_declare<|im_middle|>' -}}
    {{- tools_ts_str or tools | tojson(separators=(',', ':'), sort_keys=true) -}}
    {{- '<|im_end|>' -}}
{%- endif -%}
"""

LAST_PLAIN_ASSISTANT = """
{%- set plain = namespace(last=-1) -%}
{%- for message in messages -%}
    {%- if message['role'] == 'assistant' and not message['tool_calls'] -%}
        {%- set plain.last = loop.index0 -%}
    {%- endif -%}
{%- endfor -%}
"""

DEFAULT_TURN = """
{%- if messages and messages[0]['role'] != 'system' -%}
    {{- '<|im_system|>system<|im_middle|>' ~ DEFAULT -}}
{%- endif -%}
"""

TURNS = """
{%- for message in messages -%}
    {{- envelopes[message['role']] or '<|im_system|>' -}}
    {{- (message['name'] or message['role']) ~ '<|im_middle|>' -}}
    {%- if message['role'] == 'assistant' -%}
        {{- REASONING -}}
    {%- elif message['role'] == 'tool' -%}
        {{- '## Return of ' ~ (message['tool_call_id'] or '') ~ '\\n' -}}
    {%- endif -%}
    {{- text(message['content']) -}}
    {%- if message['role'] == 'assistant' and message['tool_calls'] -%}
        {{- '<|tool_calls_section_begin|>' -}}
        {%- for call in message['tool_calls'] -%}
            {%- set function = call['function'] -%}
            {{- '<|tool_call_begin|>' -}}
            {{- call['id'] or 'functions.' ~ function['name'] ~ ':' ~ calls.made -}}
            {{- '<|tool_call_argument_begin|>' -}}
            {%- if function['arguments'] is string -%}
                {{- function['arguments'] -}}
            {%- else -%}
                {{- function['arguments'] | tojson -}}
            {%- endif -%}
            {{- '<|tool_call_end|>' -}}
            {%- set calls.made = calls.made + 1 -%}
        {%- endfor -%}
        {{- '<|tool_calls_section_end|>' -}}
    {%- endif -%}
    {{- '<|im_end|>' -}}
{%- endfor -%}

{%- if add_generation_prompt -%}
    {{- '<|im_assistant|>assistant<|im_middle|>' -}}
{%- endif -%}
"""

REASONING: dict[Thinking, str] = {
    "off": "''",
    "kept": "'<think>' ~ (message['reasoning_content'] or '') ~ '</think>'",
    "recent": "'<think>' ~ (loop.index0 > plain.last and message['reasoning_content'] or '')"
    " ~ '</think>'",
}


def chat_template(thinking: Thinking = "off", default_system: str | None = DEFAULT_SYSTEM) -> str:
    """The template of a `ChatFormat` with these settings."""
    parts = [HEAD]
    if default_system is not None:
        text = default_system + "<|im_end|>" + "\n" * (thinking == "off")
        # Jinja reads the escapes of Python's literals.
        parts.append(DEFAULT_TURN.replace("DEFAULT", ascii(text)))
    if thinking == "recent":
        parts.append(LAST_PLAIN_ASSISTANT)
    parts.append(TURNS.replace("REASONING", REASONING[thinking]))
    return "".join(parts)
