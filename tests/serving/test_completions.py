"""/v1/completions: the log-probabilities are the model's own, in the shape that lm-eval reads."""

import json

import pytest
import torch

from openk2.models import KimiK2Config, KimiK2MoEModel
from openk2.models.checkpoint_layout import read_weights
from openk2.tokenizer import Tokenizer

PROMPT = "the weather in Paris – naïve 天气"


@pytest.fixture(scope="module")
def model(checkpoint):
    config = KimiK2Config.from_hf(checkpoint / "config.json")
    model = KimiK2MoEModel(config)
    read_weights(model, checkpoint)
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return Tokenizer.load(checkpoint / "tokenizer.json")


@pytest.fixture
def complete(server):
    def ask(**fields):
        answer = server.post("/v1/completions", {"model": "tiny", **fields})
        assert answer.status == 200, answer.body
        return answer.json

    return ask


@torch.no_grad()
def reference(model, tokens):
    """log p of each token but the first, given those before it, and the log-softmax rows."""
    rows = torch.log_softmax(model(torch.tensor([tokens]))[0, :-1].float(), dim=-1)
    return rows.gather(1, torch.tensor(tokens[1:])[:, None])[:, 0].tolist(), rows


def test_echo_scores_a_text_as_the_model_does(complete, model, tokenizer):
    tokens = tokenizer.encode(PROMPT)
    answer = complete(prompt=PROMPT, echo=True, max_tokens=0, logprobs=2)
    (choice,) = answer["choices"]
    assert choice["text"] == PROMPT and choice["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 0
    assert answer["usage"]["prompt_tokens"] == len(tokens)
    scores = choice["logprobs"]
    assert scores["token_logprobs"][0] is None and scores["top_logprobs"][0] is None
    expected, rows = reference(model, tokens)
    assert scores["token_logprobs"][1:] == pytest.approx(expected, abs=1e-4)
    for row, top in zip(rows, scores["top_logprobs"][1:], strict=True):
        assert max(top.values()) == pytest.approx(row.max().item(), abs=1e-4)
    assert len(scores["tokens"]) == len(tokens) == len(scores["text_offset"])


def test_text_offsets_point_at_the_tokens(complete):
    (choice,) = complete(prompt="the weather in Paris", echo=True, max_tokens=0, logprobs=0)[
        "choices"
    ]
    scores = choice["logprobs"]
    for token, offset in zip(scores["tokens"], scores["text_offset"], strict=True):
        assert choice["text"][offset:].startswith(token)
    assert scores["top_logprobs"] is None


def test_what_lm_eval_computes_from_an_echo(complete, model, tokenizer):
    """As its local-completions reads answers: one new token is asked for and dropped."""
    context, continuation = tokenizer.encode("the weather in "), tokenizer.encode("Paris is fine")
    prompts = [context + continuation, context + tokenizer.encode("zzz")]
    answer = complete(prompt=prompts, echo=True, max_tokens=1, logprobs=1, temperature=0, seed=1)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    for prompt, choice in zip(prompts, answer["choices"], strict=True):
        scores = choice["logprobs"]
        assert len(scores["token_logprobs"]) == len(prompt) + 1
        read = scores["token_logprobs"][len(context) : -1]
        expected, rows = reference(model, prompt)
        assert sum(read) == pytest.approx(sum(expected[len(context) - 1 :]), abs=1e-3)
        tops = scores["top_logprobs"][len(context) : -1]
        greedy = all(value == max(top.values()) for value, top in zip(read, tops, strict=True))
        likeliest = rows[len(context) - 1 :].argmax(dim=1).tolist()
        assert greedy == (likeliest == prompt[len(context) :])


def test_greedy_text_is_the_models(complete, model, tokenizer):
    tokens = tokenizer.encode("the weather in ")
    choice = complete(
        prompt=tokens, temperature=0, max_tokens=12, return_token_ids=True, ignore_eos=True
    )["choices"][0]
    for drawn in choice["token_ids"]:
        with torch.no_grad():
            assert model(torch.tensor([tokens]))[0, -1].argmax().item() == drawn
        tokens.append(drawn)
    assert choice["prompt_token_ids"] == tokens[:-12]


def test_log_probs_of_drawn_tokens_are_the_models(complete, model, tokenizer):
    tokens = tokenizer.encode("the weather in ")
    fields = {"prompt": tokens, "max_tokens": 20, "logprobs": 1, "seed": 3, "ignore_eos": True}
    choice = complete(**fields, return_token_ids=True)["choices"][0]
    expected, _ = reference(model, tokens + choice["token_ids"])
    found = choice["logprobs"]["token_logprobs"]
    assert found == pytest.approx(expected[len(tokens) - 1 :], abs=1e-4)


def test_a_stream_adds_up(server, complete):
    fields = {"prompt": PROMPT, "max_tokens": 30, "logprobs": 2, "echo": True, "seed": 3}
    (whole,) = complete(**fields)["choices"]
    answer = server.post("/v1/completions", {**fields, "stream": True})
    events = [line[6:] for line in answer.body.decode().split("\n\n") if line]
    assert events.pop() == "[DONE]"
    added = None
    for line in events:
        (piece,) = json.loads(line)["choices"]
        if added is None:
            added = piece
            continue
        added["text"] += piece["text"]
        added["finish_reason"] = piece["finish_reason"]
        for name, values in piece["logprobs"].items():
            added["logprobs"][name] += values
    assert added == whole


def test_the_best_of_several_is_the_likeliest_a_token(complete):
    fields = {"prompt": "the weather", "max_tokens": 10, "seed": 5, "logprobs": 1}
    everyone = complete(**fields, n=6)["choices"]

    def mean(choice):
        values = choice["logprobs"]["token_logprobs"]
        return sum(values) / len(values)

    ranked = sorted(everyone, key=mean, reverse=True)
    answer = complete(**fields, n=2, best_of=6)
    assert [choice["text"] for choice in answer["choices"]] == [one["text"] for one in ranked[:2]]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    drawn = sum(len(choice["logprobs"]["tokens"]) for choice in everyone)
    assert answer["usage"]["completion_tokens"] == drawn


def test_every_kind_of_prompt(complete, tokenizer):
    one = tokenizer.encode("the weather")
    for prompt, count in (
        ("the weather", 1),
        (["the weather", "Paris"], 2),
        (one, 1),
        ([one, one], 2),
        ("", 1),
    ):
        choices = complete(prompt=prompt, max_tokens=3, n=2, seed=1)["choices"]
        assert [choice["index"] for choice in choices] == list(range(2 * count))
    same = [complete(prompt=prompt, max_tokens=8, seed=1) for prompt in ("the weather", one)]
    assert same[0]["choices"] == same[1]["choices"]


def test_more_tokens_than_the_context_has_room_for_end_at_its_end(complete, engine, tokenizer):
    prompt = tokenizer.encode("the") * (engine.context_length - 5)
    answer = complete(prompt=prompt, max_tokens=100, ignore_eos=True)
    assert answer["usage"]["completion_tokens"] == 5
    assert answer["choices"][0]["finish_reason"] == "length"


def test_the_default_is_sixteen_tokens(complete):
    answer = complete(prompt="the weather", seed=1, ignore_eos=True)
    assert answer["usage"]["completion_tokens"] == 16


def test_the_second_request_finds_its_prompt_in_the_cache(complete):
    prompt = "the temperature is 21 degrees; " * 20
    first, second = (complete(prompt=prompt, max_tokens=1, seed=1)["usage"] for _ in range(2))
    assert second["prompt_tokens_details"]["cached_tokens"] > second["prompt_tokens"] / 2
    assert first["prompt_tokens_details"]["cached_tokens"] == 0


def test_a_stop_token_of_the_clients_own_is_not_shown(complete, tokenizer):
    (the,) = tokenizer.encode("the")
    fields = {"prompt": "x", "logit_bias": {the: 100}, "return_token_ids": True}
    (choice,) = complete(**fields, stop_token_ids=[the])["choices"]
    assert (choice["text"], choice["token_ids"], choice["finish_reason"]) == ("", [the], "stop")
