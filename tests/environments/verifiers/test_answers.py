"""The one final answer of a response."""

import pytest

from openk2.environments.verifiers.answers import MAX_ANSWER, MAX_WORDINGS, final_answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("So it is five.\nAnswer: 5", "5"),
        ("**Final answer:** 5 apples", "5 apples"),
        ("**Answer: 5**", "5"),
        ("thus \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("Answer: $\\boxed{7}$", "7"),
        ("\\boxed{7}\nAnswer: 7", "7"),
        ("Answer:  7 \r\nAnswer: 7", "7"),
        ("`Answer: 7`", "7"),
        ("Answer: `7`", "7"),
        ("Answer: \\(7\\)", "7"),
        ("Answer: \\[\\boxed{7}\\].", "7"),
    ],
)
def test_one_answer_is_found(response: str, answer: str) -> None:
    assert final_answer(response).text == answer


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ("", "no final answer"),
        ("I think 5", "no final answer"),
        ("Answer:", "no final answer"),
        ("\\boxed{5", "no final answer"),
        ("Answer: 5\nAnswer: 6", "2 different"),
        ("\\boxed{5} or \\boxed{6}", "2 different"),
        ("\\boxed{5}\nAnswer: 6", "2 different"),
        ("Answer: " + "9" * (MAX_ANSWER + 1), "characters"),
    ],
)
def test_none_or_several_are_none(response: str, why: str) -> None:
    found = final_answer(response)
    assert found.text is None and why in found.problem


@pytest.mark.parametrize(
    ("response", "wordings"),
    [
        ("\\boxed{\\frac12}\nAnswer: 1/2", ("1/2", "\\frac12")),
        ("Answer: 1/2", ("1/2",)),
        ("", ()),
        (" ".join(f"\\boxed{{{n}}}" for n in range(MAX_WORDINGS + 1)), ()),
        ("Answer: 1\nAnswer: " + "9" * (MAX_ANSWER + 1), ()),
    ],
)
def test_all_wordings_are_told(response: str, wordings: tuple[str, ...]) -> None:
    assert final_answer(response).wordings == wordings


def test_hostile_lengths_take_no_time() -> None:
    for text in ("\\boxed{" * 200_000, "Answer:" + " " * 10**6 + "\n", "*" * 10**6, "{" * 10**6):
        assert final_answer(text).text is None
