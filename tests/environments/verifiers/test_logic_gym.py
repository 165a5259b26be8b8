"""The adapter of reasoning-gym: every dataset accounted for, paid exactly when right."""

import json
import re
import subprocess
import sys

import pytest

from openk2.environments.base import GraderFailure
from openk2.environments.sandbox import SandboxUnavailable
from openk2.environments.verifiers.answers import MAX_ANSWER
from openk2.environments.verifiers.logic import gym
from openk2.environments.verifiers.logic.gym import GYM_ENVIRONMENTS, Gym, tagged_answers
from openk2.environments.verifiers.logic.gym_table import DATASETS, EXCLUDED, FORMS

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
