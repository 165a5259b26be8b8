"""What the chat page keeps out, says when something is wrong, and looks like to everyone."""

import json
import re

import pytest
from playwright.sync_api import Error, Page

from tests.serving.chat_page.driver import (
    WEATHER,
    ask,
    bodies,
    configure,
    last_answer,
    load_text,
)
from tests.serving.running_server import running

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
CONTRAST = """() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const painted = (colours) => {
    context.clearRect(0, 0, 1, 1);
    for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((x) => x / 255)
      .map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim().slice(0, 40);
    if (!text || !node.checkVisibility({ opacityProperty: true })) continue;
    if (["SCRIPT", "STYLE", "OPTION"].includes(node.tagName)) continue;
    const behind = [];
    for (let at = node; at; at = at.parentElement) {
      behind.unshift(getComputedStyle(at).backgroundColor);
    }
    const both = [[...behind, getComputedStyle(node).color], behind];
    const [letters, ground] = both.map((colours) => light(painted(colours)));
    found.push([text, (Math.max(letters, ground) + 0.05) / (Math.min(letters, ground) + 0.05)]);
  }
  return found;
}"""


def test_hostile_text_is_shown_and_does_not_run(page):
    configure(page, says=HOSTILE, system=HOSTILE)
    page.click("#probabilities")
    answer = ask(page, HOSTILE)
    assert answer.locator(".text").inner_text() == HOSTILE
    page.click("#probabilities")
    assert last_answer(page).locator(".text").inner_text() == HOSTILE
    assert page.locator("main img, main script").count() == 0


def test_the_browser_refuses_to_make_markup_of_text(browser, server):
    page = browser.new_page()
    page.goto(server.url)
    with pytest.raises(Error, match="TrustedHTML"):
        page.evaluate("document.body.innerHTML = '<b>markup</b>'")
    page.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "JSON"),
        ("[]", 'no list "messages"'),
        ('{"messages": [{"role": "god", "content": ""}]}', "Message 1: no role"),
        ('{"messages": [{"role": "user", "content": {"x": 1}}]}', "Message 1: its content"),
        ('{"messages": [{"role": "assistant", "tool_calls": [null]}]}', "a tool call without"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(page, text, said):
    load_text(page, text)
    notice = page.locator("#notice")
    notice.wait_for()
    assert "broken.json is not a saved dialog" in notice.inner_text()
    assert said in notice.inner_text() and page.locator("#log article").count() == 0


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ("[", "The tools are not JSON"),
        ("{}", "must be a JSON list"),
        ('[{"type": "function", "function": {}}]', 'Tool 1: "function" needs a "name"'),
        ('[{"type": "function", "function": {"name": "f", "parameters": []}}]', "JSON Schema"),
    ],
)
def test_wrong_tools_are_named_before_anything_is_sent(page, tools, said):
    sent = bodies(page)
    configure(page, tools=tools)
    page.fill("#message", "hello")
    page.press("#message", "Enter")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert said in alert.inner_text()
    alert.get_by_role("button", name="Settings").click()
    assert said in page.locator("#tools-problem").inner_text()
    page.click("#example")
    assert page.locator("#tools-problem").inner_text() == "2 tools"
    assert sent == []


def test_the_servers_refusal_is_one_clear_line(page):
    page.fill("#message", "weather " * 10_000)
    page.press("#message", "Enter")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "4096" in alert.inner_text() and "\n" not in alert.locator("span").inner_text()
    assert page.locator("article.assistant").count() == 0


def test_the_key_is_asked_for_and_forgotten(engine, open_page):
    with running(engine, api_key="open sesame") as locked:
        page = open_page(locked)
        alert = page.get_by_role("alert")
        alert.wait_for()
        assert "API key" in alert.inner_text()
        configure(page, key="open sesame", says="Come in.")
        assert ask(page, "hello").locator(".text").inner_text() == "Come in."
        stored = "Object.values({...localStorage}).some(text => text.includes('open sesame'))"
        assert page.evaluate(stored) is False
        page.reload()
        page.click("#toggle-settings")
        assert page.locator("[name=key]").input_value() == "open sesame"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_both_themes(open_page, scheme):
    page = open_page(color_scheme=scheme)
    page.click("#probabilities")
    configure(page, tools=json.dumps([WEATHER]), max_tokens="40", temperature="2")
    ask(page, "weather?")
    page.click("#toggle-settings")
    page.locator("article.assistant").hover()
    for _ in range(2):  # as the browser prefers it, and switched over
        ratios = page.evaluate(CONTRAST)
        assert len(ratios) > 30
        assert [(text, ratio) for text, ratio in ratios if ratio < 4.5] == []
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.click("#theme")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    chosen = page.evaluate("document.documentElement.dataset.theme")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == chosen


def test_everything_fits_a_phone_and_has_a_name(open_page):
    page = open_page(viewport={"width": 375, "height": 700}, has_touch=True, is_mobile=True)
    configure_on_phone(page, tools=json.dumps([WEATHER]), tool_choice="=get_weather")
    ask(page, "weather " * 30 + "W" * 300)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert page.locator(".call textarea").first.is_visible()
    page.click("#toggle-settings")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    unnamed = """[...document.querySelectorAll("button, input, textarea, select")].filter((node) =>
      !(node.ariaLabel || node.labels?.[0]?.textContent.trim() || node.textContent.trim()))
      .map((node) => node.outerHTML)"""
    assert page.evaluate(unnamed) == []


def test_the_pages_headers_allow_its_own_script_alone(server):
    answer = server.get("/")
    policy = answer.headers["content-security-policy"]
    assert answer.status == 200 and "default-src 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(rb"""(src|href)="(?!data:|#)""", answer.body)


def configure_on_phone(page: Page, **settings: str) -> None:
    """There the settings cover the page."""
    page.click("#toggle-settings")
    for name, value in settings.items():
        field = page.locator(f"#options [name={name}]")
        field.select_option(value) if name == "tool_choice" else field.fill(value)
    page.click("#close-settings")
