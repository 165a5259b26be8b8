"""Budgets and formats: each check at its border."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openk2.core.errors import UserError
from openk2.core.records import Score
from openk2.environments.verifiers.format_checks import (
    STOP_WORDS,
    Budget,
    hidden_text,
    is_language,
    json_only,
    latin_only,
    penalised,
    repeated_share,
    words_of,
)


@given(text=st.text(max_size=60), limit=st.integers(0, 20))
def test_a_budget_keeps_a_prefix_within_it(text: str, limit: int) -> None:
    for unit, count in (("words", lambda kept: len(words_of(kept))), ("characters", len)):
        left = Budget(limit, unit).apply(text)
        assert left.used == count(text) and left.over == (left.used > limit)
        assert text.startswith(left.text) and count(left.text) == min(limit, left.used)
        assert left.over or left.text == text


def test_a_budget_in_tokens_asks_the_tokenizer() -> None:
    def encode(text: str) -> list[int]:
        return list(text.encode())

    def decode(tokens: list[int]) -> str:
        return bytes(tokens).decode(errors="replace")

    budget = Budget(4, "tokens", encode, decode)
    assert budget.apply("four") == Budget(4, "characters").apply("four")
    left = budget.apply("fifth")
    assert (left.text, left.used, left.over) == ("fift", 5, True)


def test_over_the_budget_is_cut_and_penalised() -> None:
    within, over = Budget(2).apply("one two"), Budget(2).apply("one two three")
    assert over.text == "one two"
    assert penalised(Score(1.0, {"a": 1.0}), within) == Score(1.0, {"a": 1.0, "within_budget": 1.0})
    assert penalised(Score(1.0), over).reward == 0.0
    assert penalised(Score(1.0), over, penalty=0.25).reward == 0.75
    assert penalised(Score(0.1), over, penalty=0.25).reward == 0.0
    assert penalised(Score(1.0), over).parts == {"within_budget": 0.0}
    assert not penalised(Score(None, reason="broken"), over).valid


@pytest.mark.parametrize(("limit", "unit"), [(-1, "words"), (3, "pages")])
def test_an_impossible_budget_is_refused(limit: int, unit: str) -> None:
    with pytest.raises(UserError, match="budget"):
        Budget(limit, unit)


@pytest.mark.parametrize(
    "text",
    ["a\u200bb", "a\u00adb", "\ufeffa", "a\u202eb", "a\x00b", "a\x1b[0m", "\U000e0041", "\ud800",
     "a<!-- b -->", '<span style="x">a</span>', "a \\phantom{b}", "[//]: # (b)", "a\u2800b",
     "<DIV hidden>a</DIV>", "a\u034fb", "a\rb"],
)  # fmt: skip
def test_hidden_text_is_named(text: str) -> None:
    assert hidden_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "plain\ttext\n",
        "naïve café",
        "3 < 4 > 2",
        "<text>a</text>",
        "“quoted” — yes…",
        "😀",
        "[name]",
    ],
)
def test_plain_text_hides_nothing(text: str) -> None:
    assert hidden_text(text) == ""


def test_scripts() -> None:
    assert latin_only("Façade, Łódź, Straße: 3 × 4 — “yes”")
    for odd in ("pаper", "Ωmega", "𝗔", "ａ", "٣", "ɑ", "日本"):
        assert not latin_only(f"some {odd} text"), odd


LANGUAGE_SAMPLES = {
    "English": "The house by the river had been empty for years, and nobody in the town would say "
    "what it was that they had seen there.",
    "French": "La maison près de la rivière est vide depuis des années et personne dans le village "
    "ne veut dire ce que l'on a vu dans les chambres.",
    "Spanish": "La casa junto al río estaba vacía y nadie en el pueblo quería decir lo que se "
    "había visto en las habitaciones de los niños por la noche.",
    "German": "Das Haus an dem Fluss stand leer und niemand in der Stadt wollte sagen, was sie "
    "dort in den Zimmern bei Nacht und im Winter gesehen hatte.",
    "Italian": "La casa vicino al fiume era vuota da anni e nessuno nel paese voleva dire che cosa "
    "si vedeva nelle stanze della notte e sotto gli alberi.",
    "Portuguese": "A casa junto ao rio estava vazia e ninguém na cidade queria dizer o que se viu "
    "nos quartos das crianças, mas todos os anos uma luz não se apagava.",
    "Dutch": "Het huis aan de rivier stond leeg en niemand in de stad wilde zeggen wat er in het "
    "donker was te zien, maar ook de kinderen van het dorp wisten het.",
}


@pytest.mark.parametrize("language", STOP_WORDS)
def test_a_language_is_told_from_all_others(language: str) -> None:
    assert [name for name in STOP_WORDS if is_language(LANGUAGE_SAMPLES[language], name)] == [
        language
    ]


def test_what_cannot_be_decided_is_no_language() -> None:
    mixed = f"{LANGUAGE_SAMPLES['French']} {LANGUAGE_SAMPLES['English']}"
    for text in ("", "La maison.", "xyzzy " * 50, "日本語 " * 30, mixed):
        assert not any(is_language(text, name) for name in STOP_WORDS), text


def test_repetition() -> None:
    assert repeated_share("one two three four five six") == 0.0
    assert repeated_share("one two three") == 0.0
    assert repeated_share("a b c d " * 10) > 0.8
    assert 0.3 < repeated_share(f"{LANGUAGE_SAMPLES['English']} " * 2) < 0.6


@pytest.mark.parametrize("value", [{"a": [1, None, "x"]}, [], "text", 3, None, {"a": {"b": {}}}])
def test_json_alone(value: object) -> None:
    assert json_only(json.dumps(value)) == (value, "")
    assert json_only(f" {json.dumps(value, indent=2)}\n") == (value, "")


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": NaN}', "Infinity", '{"a": 1, "a": 2}', '```json\n{"a": 1}\n```', "{'a': 1}",
     '{"a": 1} ok', "[" * 100_000, "[" * 51 + "]" * 51, "1" * 5000,
     '"' + "a" * 100_001 + '"', "\ud800"],
)  # fmt: skip
def test_what_is_not_json_alone(text: str) -> None:
    value, problem = json_only(text)
    assert value is None and problem
