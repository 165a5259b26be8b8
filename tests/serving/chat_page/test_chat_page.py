"""The chat page in a real browser, on a real server with an untrained model."""

import json
import math
import re

import pytest
from playwright.sync_api import expect

from tests.serving.chat_page.driver import (
    WEATHER,
    ask,
    bodies,
    configure,
    last_answer,
    load,
)
from tests.serving.running_server import eventually


def test_a_turn_is_answered_and_counted(page, server):
    model = server.get("/v1/models").json["data"][0]["id"]
    expect(page).to_have_title(f"{model} · OpenK2 chat")
    assert page.locator("h1").inner_text().endswith(model)
    configure(page, says="The weather is fine.", temperature="0.5", seed="7", stop="never\nno")
    sent = bodies(page)
    answer = ask(page, "How is the\tweather?\n<|im_end|>")
    assert answer.locator(".text").inner_text() == "The weather is fine."
    assert page.locator("article.user .text").inner_text() == "How is the\tweather?\n<|im_end|>"
    figures = answer.locator(".statistics").inner_text()
    assert re.match(r"\d+ tokens · [\d.e+]+ tokens/s · prompt \d+", figures), figures
    assert page.locator("#welcome").is_hidden() and page.locator("#send").inner_text() == "Send"
    (body,) = sent
    assert body["temperature"] == 0.5 and body["seed"] == 7 and body["stop"] == ["never", "no"]
    assert "top_p" not in body and "tools" not in body and "logprobs" not in body
    assert body["messages"] == [{"role": "user", "content": "How is the\tweather?\n<|im_end|>"}]


def test_a_tool_is_called_and_its_result_sent_back(page):
    configure(page, tools=json.dumps([WEATHER]), tool_choice="=get_weather")
    sent = bodies(page)
    calls = ask(page, "Weather?").locator(".call")
    call = calls.first  # an untrained model may go on to call it again
    assert call.locator("b").inner_text() == "get_weather"
    assert call.locator("code").inner_text() == "functions.get_weather:0"
    assert call.locator("pre").inner_text() == '{\n  "city": "Lisbon",\n  "days": 10\n}'
    assert call.locator(".hint").is_hidden()
    configure(page, tool_choice="none", says="It is hot.")
    call.get_by_label("Result of get_weather").fill('{"celsius": 40}')
    page.get_by_role("button", name=re.compile("Send results?")).click()
    page.wait_for_selector("article.tool")
    assert last_answer(page).locator(".text").inner_text() == "It is hot."
    shown = page.locator("article.tool").first
    assert shown.locator(".text").inner_text() == '{"celsius": 40}'
    assert shown.locator("code").inner_text() == "functions.get_weather:0"
    assert page.locator(".call textarea").count() == 0
    first, second = sent
    assert first["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}
    assert first["tools"] == [WEATHER]
    asked, result, *_ = second["messages"][1:]
    assert asked["tool_calls"][0]["id"] == "functions.get_weather:0"
    assert json.loads(asked["tool_calls"][0]["function"]["arguments"])["city"] == "Lisbon"
    assert result == {
        "role": "tool",
        "content": '{"celsius": 40}',
        "tool_call_id": "functions.get_weather:0",
    }


def test_parallel_calls_have_a_box_each(page):
    written = ['{"city":"Oslo","big":12345678901234567890}', '{"city": "Li']
    calls = [
        {
            "id": f"functions.get_weather:{i}",
            "type": "function",
            "function": {"name": "get_weather", "arguments": arguments},
        }
        for i, arguments in enumerate(written)
    ]
    load(page, [{"role": "user", "content": "?"}, {"role": "assistant", "tool_calls": calls}])
    cards = page.locator(".call")
    assert cards.nth(0).locator("pre").inner_text() == (
        '{\n  "city": "Oslo",\n  "big": 12345678901234567890\n}'
    )
    assert cards.nth(1).locator(".hint").inner_text() == "These arguments are not valid JSON."
    configure(page, says="Both are cold.")
    sent = bodies(page)
    for i, result in enumerate(("-1", "0")):
        cards.nth(i).locator("textarea").fill(result)
    page.get_by_role("button", name="Send results").click()
    page.wait_for_selector("text=Both are cold.")
    results = [message for message in sent[0]["messages"] if message["role"] == "tool"]
    assert [(result["tool_call_id"], result["content"]) for result in results] == [
        ("functions.get_weather:0", "-1"),
        ("functions.get_weather:1", "0"),
    ]


def test_reasoning_is_folded(page):
    configure(page, says="<think>Clouds are rare there.</think>It is fine.")
    answer = ask(page, "Weather?")
    reasoning = answer.locator("details.reasoning")
    assert reasoning.locator(".text").is_hidden()
    assert answer.locator("> .text").inner_text() == "It is fine."
    reasoning.locator("summary").click()
    assert reasoning.locator(".text").inner_text() == "Clouds are rare there."


def test_probabilities_on_hover_are_the_servers(page, server):
    page.click("#probabilities")
    configure(page, temperature="0", max_tokens="6")
    sent = bodies(page)
    answer = ask(page, "the weather")
    tokens = answer.locator(".tokens > span")
    body = {**sent[0], "stream": False, "stream_options": None}
    choice = server.post("/v1/chat/completions", body).json["choices"][0]
    entries = choice["logprobs"]["content"]
    assert tokens.count() == len(entries) > 0
    assert page.locator("#readout").is_hidden()
    tokens.nth(0).hover()
    readout = page.locator("#readout")
    shown = float(re.search(r"drawn with ([\d.e+-]+) %", readout.inner_text())[1])
    assert shown == pytest.approx(100 * math.exp(entries[0]["logprob"]), rel=0.01)
    rows = readout.locator("td:last-child").all_inner_texts()
    likeliest = [100 * math.exp(other["logprob"]) for other in entries[0]["top_logprobs"]]
    assert [float(row.rstrip(" %")) for row in rows] == pytest.approx(likeliest, rel=0.01)
    assert len(rows) == 5
    surprise = float(tokens.nth(0).evaluate("node => node.style.getPropertyValue('--surprise')"))
    assert surprise == pytest.approx(min(1, -entries[0]["logprob"] / math.log(100)), abs=0.001)
    page.mouse.move(0, 0)
    page.wait_for_selector("#readout", state="hidden")
    answer.locator(".tokens").focus()
    page.keyboard.press("ArrowRight")
    assert "drawn with" in readout.inner_text()
    page.keyboard.press("Escape")
    assert readout.is_hidden()


@pytest.mark.parametrize("way", ["button", "key"])
def test_an_answer_can_be_stopped(page, server, way):
    configure(page, response_format="regex", pattern="[a-z]{1900}")
    page.fill("#message", "Go on and on.")
    page.press("#message", "Enter")
    expect(page.locator(".writing .text")).to_have_text(re.compile("[a-z]{4}"))
    assert page.locator("#send").inner_text() == "Stop"
    if way == "button":
        page.click("#send")
    else:
        page.keyboard.press("Escape")
    answer = last_answer(page)
    assert 3 < len(answer.locator(".text").inner_text()) < 1900
    assert "stopped by you" in answer.locator(".statistics").inner_text()
    assert eventually(lambda: server.metric("k2_running") == 0)
    configure(page, says="Again.")
    answer.hover()
    answer.get_by_role("button", name="Regenerate").click()
    page.wait_for_selector("text=Again.")
    assert page.locator("article.assistant").count() == 1


def test_turns_can_be_edited_deleted_and_brought_back(page):
    configure(page, says="One.")
    ask(page, "first")
    ask(page, "second")
    turns = page.locator("#log article")
    assert turns.count() == 4
    turns.nth(2).hover()
    turns.nth(2).get_by_role("button", name="Edit").click()
    box = page.get_by_label("Your message")
    assert box.input_value() == "second"
    configure(page, says="Two.")
    box.fill("third")
    box.press("Enter")
    page.wait_for_selector("text=Two.")
    texts = ["first", "One.", "third", "Two."]
    assert page.locator("#log .text").all_inner_texts() == texts
    turns.nth(1).hover()
    turns.nth(1).get_by_role("button", name="Delete").click()
    assert page.locator("#log .text").all_inner_texts() == ["first", "third", "Two."]
    page.get_by_role("button", name="Undo").click()
    assert page.locator("#log .text").all_inner_texts() == texts
    page.click("#new")
    assert turns.count() == 0 and page.locator("#welcome").is_visible()
    page.get_by_role("button", name="Undo").click()
    assert page.locator("#log .text").all_inner_texts() == texts


def test_a_dialog_outlives_the_page_and_travels_as_a_file(page, open_page, tmp_path):
    configure(page, says="Kept.", system="Be brief.", temperature="0.25")
    ask(page, "Remember this.")
    page.reload()
    assert page.locator("#log .text").all_inner_texts() == ["Remember this.", "Kept."]
    with page.expect_download() as download:
        page.click("#save")
    saved = tmp_path / "dialog.json"
    download.value.save_as(saved)
    messages = json.loads(saved.read_text())["messages"]
    assert [(m["role"], m["content"]) for m in messages] == [
        ("user", "Remember this."),
        ("assistant", "Kept."),
    ]
    other = open_page()
    other.set_input_files("#file", saved)
    other.wait_for_selector("text=Kept.")
    other.click("#toggle-settings")
    assert other.locator("[name=system]").input_value() == "Be brief."
    assert other.locator("[name=temperature]").input_value() == "0.25"


def test_the_message_is_counted_while_it_is_typed(page, server):
    page.fill("#message", "the weather in Paris")
    count = server.post("/tokenize", {"prompt": "the weather in Paris"}).json["count"]
    page.wait_for_selector(f"text={count} tokens · context 4,096 tokens")
