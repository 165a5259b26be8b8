"""What a user does on the chat page.

What the model says is made certain by its response format (a pattern that one text matches) and by
tools whose arguments are constants.
"""

import json
import re

from playwright.sync_api import Locator, Page

__all__ = ["WEATHER", "ask", "bodies", "configure", "last_answer", "load", "load_text"]

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"const": "Lisbon"}, "days": {"const": 10}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}


def configure(page: Page, says: str | None = None, **settings: str) -> None:
    """Fill in the settings; `says` is the text that the model is to say."""
    if says is not None:
        settings |= {"response_format": "regex", "pattern": re.escape(says)}
    page.click("#toggle-settings")
    for name, value in settings.items():
        field = page.locator(f"#options [name={name}]")
        if field.evaluate("node => node.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    page.click("#toggle-settings")


def ask(page: Page, text: str) -> Locator:
    """Say `text`; the assistant's turn when it is complete."""
    page.fill("#message", text)
    page.press("#message", "Enter")
    return last_answer(page)


def last_answer(page: Page) -> Locator:
    page.wait_for_selector("#log article.assistant")
    page.wait_for_selector("#log .writing", state="detached")
    return page.locator("#log article.assistant").last


def bodies(page: Page) -> list[dict]:
    """The chat requests that the page sends from now on."""
    sent: list[dict] = []
    page.on(
        "request",
        lambda request: sent.append(request.post_data_json) if "chat" in request.url else None,
    )
    return sent


def load(page: Page, messages: list[dict]) -> None:
    load_text(page, json.dumps({"messages": messages}))
    page.wait_for_selector("#log article")


def load_text(page: Page, text: str) -> None:
    file = {"name": "broken.json", "mimeType": "application/json", "buffer": text.encode()}
    page.set_input_files("#file", file)
