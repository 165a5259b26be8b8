"""The adapter of reasoning-gym: every dataset accounted for, paid exactly when right."""

import json
import re
import subprocess
import sys
from collections import Counter
from decimal import Decimal

import pytest

from openk2.environments.base import GraderFailure
from openk2.environments.sandbox import SandboxUnavailable
from openk2.environments.verifiers.answers import MAX_ANSWER
from openk2.environments.verifiers.logic import gym
from openk2.environments.verifiers.logic.gym import (
    GYM_ENVIRONMENTS,
    Gym,
    entry_of,
    tagged_answers,
)
from openk2.environments.verifiers.logic.gym_table import (
    COPIED,
    DATASETS,
    EXCLUDED,
    FORMS,
    NUMBERS,
)

BY_DATASET = {environment.dataset: environment for environment in GYM_ENVIRONMENTS}


def test_every_installed_dataset_is_used_or_excluded_with_a_reason() -> None:
    from reasoning_gym.factory import DATASETS as INSTALLED

    assert set(DATASETS) | set(EXCLUDED) == set(INSTALLED)
    assert not set(DATASETS) & set(EXCLUDED) and set(FORMS) <= set(DATASETS)
    assert len(DATASETS) >= 80 and all(EXCLUDED.values())


@pytest.mark.parametrize("environment", GYM_ENVIRONMENTS, ids=lambda one: one.dataset)
def test_honest_answers_are_paid(environment: type[Gym]) -> None:
    world = environment()
    for index, difficulty in enumerate((0.0, 1.0)):
        task = world.task(index, "train", difficulty)
        assert task == world.task(index, "train", difficulty)
        json.dumps(dict(task.truth))
        assert len(task.truth["answers"]) == DATASETS[environment.dataset].questions
        assert world.verify(task, f"Well.\n{world.solve(task)}\nThat is all.").reward == 1.0
        assert world.verify(task, world.solve(task).replace("<answer>", "<answer>7")).reward == 0


@pytest.mark.parametrize("dataset", FORMS)
def test_stored_answers_fit_their_form_and_their_scorer_accepts_them(dataset: str) -> None:
    world = BY_DATASET[dataset]()
    task = world.task(0, "train", 0.5)
    answers = task.truth["answers"]
    assert world._all_accepted(task.truth, answers, range(len(answers)))


def test_tasks_are_the_same_in_another_process_and_leave_global_randomness_alone() -> None:
    code = (
        "import random, sys; random.seed(int(sys.argv[1]))\n"
        "from openk2.environments.verifiers.logic.gym import GYM_ENVIRONMENTS\n"
        "found = [repr(one().task(1, 'train', 0.5)) + repr(one().task(1, 'train', 0.5).truth) "
        "for one in GYM_ENVIRONMENTS[:: int(sys.argv[2])]]\n"
        "print('\\n'.join(sorted(map(ascii, found))))\n"
        "print('global', random.random() == random.Random(int(sys.argv[1])).random())"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code, seed, order], env={"PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed, order in (("1", "1"), ("2", "-1"))
    ]  # fmt: skip
    assert outputs[0] == outputs[1] and "global True" in outputs[0]
    assert len(outputs[0].splitlines()) == len(DATASETS) + 1


CODE = (
    "__import__('os').system('true')", "open('x')", "exit()", "().__class__", "lambda:0", "x.y",
    "[i for i in (1,)]", "f(x)", "'a'*9", "1 or 0", "9**9**9", "{}", "0;1", "a=b",
)  # fmt: skip


@pytest.mark.parametrize("dataset", FORMS)
def test_no_code_fits_a_form(dataset: str) -> None:
    assert not [code for code in CODE if re.fullmatch(FORMS[dataset], code)]


def test_another_right_answer_is_paid_and_a_wrong_one_of_that_form_is_not() -> None:
    world = BY_DATASET["palindrome_generation"]()
    task = world.task(0, "train", 0.5)
    right = task.truth["answers"][0]
    half = len(right) // 2
    turned = right[:half][::-1] + right[half : len(right) - half] + right[len(right) - half :][::-1]
    assert turned != right and turned == turned[::-1]
    assert world.verify(task, f"<answer>{turned}</answer>").reward == 1.0
    assert world.verify(task, f"<answer>{turned[:-1]}q</answer>").reward == 0.0


@pytest.mark.parametrize("dataset", NUMBERS)
def test_a_number_is_paid_as_it_is_written_but_not_another_near_it(dataset: str) -> None:
    world = BY_DATASET[dataset]()
    for index, difficulty in enumerate((0.0, 0.5, 1.0)):
        task = world.task(index, "train", difficulty)
        rights = [Decimal(answer) for answer in task.truth["answers"]]
        for form in ("{}", "{:f}", "{:,f}", "{:.25e}", " {} "):
            response = "".join(f"<answer>{form.format(one)}</answer>" for one in rights)
            assert world.verify(task, response).reward == 1.0, response
        for wrong in (
            "about {}", "{} or 0", "{}e999", "{0} {0}", "", "nan", "inf", "1e99", "{}_0", "0x10",
        ):  # fmt: skip
            response = "".join(f"<answer>{wrong.format(one)}</answer>" for one in rights)
            assert world.verify(task, response).reward == 0.0, response
        near = "".join(f"<answer>{one * (1 + Decimal('1e-5'))}</answer>" for one in rights)
        assert world.verify(task, near).reward == 0.0


def test_the_other_numbers_to_choose_from_are_wrong() -> None:
    """Each as it stands in the question, the right one too."""
    world, paid = BY_DATASET["number_format"](), Counter[bool]()
    for index in range(6):
        task = world.task(index, "train", index / 5)
        texts = re.findall(r"candidates: (.*)", task.prompt)
        right = [Decimal(answer) for answer in task.truth["answers"]]
        for place in range(5):
            chosen = [text.split()[place] for text in texts]
            response = "".join(f"<answer>{one}</answer>" for one in chosen)
            close = [
                abs(Decimal(one.replace(",", "")) - answer) < Decimal("1e-4")
                for one, answer in zip(chosen, right, strict=True)
            ]
            assert world.verify(task, response).reward == float(all(close))
        best = [
            min(text.split(), key=lambda one: abs(Decimal(one.replace(",", "")) - answer))
            for text, answer in zip(texts, right, strict=True)
        ]
        response = "".join(f"<answer>{one}</answer>" for one in best)
        assert world.verify(task, response).reward == 1.0
        paid[len(set(right)) == len(right)] += 1
    assert paid[True] == 6


@pytest.mark.parametrize("dataset", sorted(COPIED))
def test_what_stands_in_the_question_is_not_its_answer(dataset: str) -> None:
    for index in range(20):
        task = BY_DATASET[dataset]().task(index, "train", 0.0)
        assert not [one for one in task.truth["answers"] if one in task.prompt]


@pytest.mark.parametrize(
    "dataset",
    ["binary_alternation", "bf", "coin_flip", "count_bits", "largest_island", "leg_counting",
     "letter_counting", "n_queens", "number_sequence", "simple_equations", "tower_of_hanoi"],
)  # fmt: skip
@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_the_commonest_answer_is_seldom_right_to_all_questions(
    dataset: str, difficulty: float
) -> None:
    answers = Counter(entry_of(dataset, difficulty, place)["answer"] for place in range(150))
    share = answers.most_common(1)[0][1] / 150
    assert share ** DATASETS[dataset].questions < 0.02  # 0.01 and what 150 draws can add


def test_problems_that_a_generator_does_not_find_are_drawn_again() -> None:
    with pytest.raises(RuntimeError):
        for place in range(300):
            entry_of("tsumego", 1.0, place)
    for index in range(60):
        BY_DATASET["tsumego"]().task(index, "train", 1.0)


def test_spaces_beside_commas_and_brackets_do_not_count() -> None:
    world = BY_DATASET["word_sorting"]()
    task = world.task(0, "train", 0.5)
    right = task.truth["answers"][0]
    assert ", " in right
    for written in (right.replace(", ", ","), right.replace(", ", " ,  ")):
        assert world.verify(task, f"<answer>{written}</answer>").reward == 1.0
    assert world.verify(task, f"<answer>{right.replace(', ', ' ')}</answer>").reward == 0.0


def test_an_answer_that_explodes_in_the_scorer_is_wrong_not_invalid() -> None:
    world = BY_DATASET["group_anagrams"]()
    task = world.task(0, "train", 0.0)
    for answer in ("[" * 4000, "[[]", '["a", ' * 500, "]"):
        score = world.verify(task, f"<answer>{answer}</answer>")
        assert score.valid and score.reward == 0.0


def test_without_a_sandbox_there_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise SandboxUnavailable("no namespaces here")

    monkeypatch.setattr(gym, "call_function", refuse)
    world = BY_DATASET["palindrome_generation"]()
    task = world.task(0, "train", 0.5)
    score = world.verify(task, "<answer>aa</answer>")
    assert not score.valid and "no namespaces" in score.reason
    assert world.verify(task, world.solve(task)).reward == 1.0  # equality needs no scorer
    with pytest.raises(GraderFailure):
        world.grade(task.truth, "<answer>aa</answer>")


def test_tagged_answers() -> None:
    assert tagged_answers("so <answer> 5 </answer>.", 1) == [" 5 "]
    assert tagged_answers("<answer>1</answer> <answer>2</answer>", 2) == ["1", "2"]
    for response in (
        "", "5", "<answer>5", "5</answer>", "</answer>5<answer>", "<answer>1<answer>2</answer>",
        "<answer>1</answer></answer>", "<answer>1</answer><answer>1</answer>",
        f"<answer>{'1' * (MAX_ANSWER + 1)}</answer>",
    ):  # fmt: skip
        assert tagged_answers(response, 1) is None


def test_listing_the_environments_does_not_import_reasoning_gym() -> None:
    code = (
        "import sys; from openk2.environments.verifiers.logic import ENVIRONMENTS; "
        "sys.exit(bool({'reasoning_gym', 'sympy', 'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
