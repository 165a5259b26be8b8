"""Simulated users: what they say, when, and whose fault it is when it goes wrong."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openk2.core.generation import Completion
from openk2.core.records import Message
from openk2.environments.blocking import BlockingGenerator
from openk2.environments.tool_world import ToolTask, make_task
from openk2.environments.tool_world.goals import ACTOR
from openk2.environments.tool_world.model_users import END, ModelUser, user_faults
from openk2.environments.tool_world.users import PERSONAS, ScriptedUser, Wishes

BY_NAME = {persona.name: persona for persona in PERSONAS}


def email(task: ToolTask) -> str:
    return str(task.variables[ACTOR].facts["email"])


TASK = make_task("retail", 5, difficulty=0.6)


def test_a_direct_person_says_everything_at_once() -> None:
    opening = ScriptedUser(TASK, persona=BY_NAME["brief"]).open().text
    assert email(TASK) in opening
    assert all(goal.request[1:30] in opening for goal in TASK.goals)


def test_a_reserved_one_tells_when_asked_and_one_wish_at_a_time() -> None:
    user = ScriptedUser(TASK, persona=BY_NAME["polite"])
    opening = user.open().text
    assert email(TASK) not in opening
    assert TASK.goals[0].request[1:30] in opening
    assert TASK.goals[1].request[1:30] not in opening
    assert email(TASK) in user.reply("Could you tell me your email?").text
    assert TASK.goals[1].request[1:30] in user.reply("That has been done.").text


def test_who_mistypes_corrects_it_when_nothing_is_found() -> None:
    user = ScriptedUser(TASK, persona=BY_NAME["careless"])
    user.open()
    first = user.reply("May I have your email?").text
    assert email(TASK) not in first and "My email is" in first
    assert email(TASK) in user.reply("I could not find an account with that email.").text


def test_a_mind_that_changes_says_what_it_means_before_it_goes() -> None:
    changed = 0
    for index in range(30):
        task = make_task("retail", index)
        user = ScriptedUser(task, persona=BY_NAME["undecided"])
        said = user.open().text
        if all(goal.request.partition(". ")[0][1:] in said for goal in task.goals):
            continue
        changed += 1
        turn = user.reply("That has been done.")
        assert not turn.done and "changed my mind" in turn.text
        said += turn.text
        assert all(goal.request.partition(". ")[0][1:] in said for goal in task.goals)
    assert changed > 2


@pytest.mark.parametrize("persona", PERSONAS, ids=lambda persona: persona.name)
def test_only_the_user_ends_and_not_before_all_is_said(persona: object) -> None:
    for index in range(8):
        task = make_task("retail", index)
        user = ScriptedUser(task, index, persona)  # type: ignore[arg-type]
        said, done, turns = user.open().text, False, 0
        while not done:
            turn = user.reply("That has been done.")
            said, done, turns = said + turn.text, turn.done, turns + 1
            assert turns < 20
        assert all(goal.request.partition(". ")[0][1:] in said for goal in task.goals)


def test_secrets_and_keys_are_not_to_be_had() -> None:
    user = ScriptedUser(TASK, persona=BY_NAME["brief"])
    user.open()
    assert "rather not" in user.reply("What is your password?").text
    answer = user.reply("Please give me the order id.").text
    assert not any(variable.key in answer for variable in TASK.variables.values())


def test_a_silent_agent_is_left_in_the_end() -> None:
    user = ScriptedUser(TASK, persona=BY_NAME["hurried"])
    user.open()
    turns = [user.reply("") for _ in range(5)]
    assert [turn.done for turn in turns][:3] == [False, False, True]
    assert user.faults() == []


SAYS = ("Hello", "May I have your email?", "I could not find an account with that email.")


def test_scripts_do_nothing_that_the_rules_call_a_fault() -> None:
    for persona in PERSONAS:
        for index in range(10):
            task = make_task("retail", index)
            user = ScriptedUser(task, index, persona)
            texts, heard, done = [user.open().text], ["Hello"], False
            while not done:
                heard.append(SAYS[len(heard)] if len(heard) < len(SAYS) else "That has been done.")
                turn = user.reply(heard[-1])
                texts.append(turn.text)
                done = turn.done
            faults = user_faults(Wishes.of(task, persona), texts, heard, done)
            assert not faults, (persona.name, index, faults)


WISHES = Wishes(
    {"email": "ann@example.com"}, ("send my order of 2026-02-03 to 5 Elm Street",), (None,)
)
GOOD = "Please send my order of 2026-02-03 to 5 Elm Street. My email is ann@example.com."


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["Send my order of 2026-02-03 to 5 Elm. I am bob@example.com"], "wrong_identity"),
        ([GOOD, "The order is O-ABC234."], "unknown_key"),
        ([GOOD, "I have cancelled your order."], "played_assistant"),
        ([GOOD, "How can I help you today?"], "played_assistant"),
        ([f"Hello! {END}"], "left_early"),
        ([GOOD, "  "], "empty"),
    ],
)
def test_faults_of_a_user_are_named(texts: list[str], kind: str) -> None:
    done = END in texts[-1]
    assert kind in {fault.kind for fault in user_faults(WISHES, texts, ["Hello"], done)}


def test_a_good_user_has_none() -> None:
    assert not user_faults(WISHES, [GOOD, f"Thanks. {END}"], ["Hello"], True)
    told = ["Hello", "Is it O-ABC234?"]
    assert not user_faults(WISHES, [GOOD, "Yes, O-ABC234."], told, False)
    corrected = ["My email is bob@example.com.", GOOD]
    assert not user_faults(WISHES, corrected, ["Hello"], False)


@pytest.mark.parametrize(
    "question",
    [
        "Could you please confirm your email address?",
        "Could you please provide your e-mail?",
        "Before I proceed, I need your email.",
        "To verify your identity, I need your email address.",
        "Who am I speaking with?",
        "What is your customer ID?",
        "Please confirm: is your email x@example.com?",
    ],
)
def test_whoever_asks_who_they_are_is_told(question: str) -> None:
    user = ScriptedUser(TASK, persona=BY_NAME["polite"])
    user.open()
    assert email(TASK) in user.reply(question).text


@pytest.mark.parametrize(
    "question",
    [
        "Shall I go ahead?",
        "Do you want me to continue (yes/no)?",
        "I will send it to 12 Main St., correct?",
        "Shall I send it to your email address?",
    ],
)
def test_who_asks_for_leave_gets_it_for_what_was_wished_only(question: str) -> None:
    user = ScriptedUser(TASK, persona=BY_NAME["polite"])
    user.open()
    assert user.reply(question).text.startswith("Yes, if it is what I asked for")


@pytest.mark.parametrize(
    "question", ["Which order do you mean?", "I found O-ABCDEF ($12) and O-ABCDEG ($15). Which?"]
)
def test_who_asks_which_one_hears_the_wish_again(question: str) -> None:
    user = ScriptedUser(TASK, persona=BY_NAME["polite"])
    user.open()
    assert TASK.goals[0].request[1:30] in user.reply(question).text


@pytest.mark.parametrize(
    "said",
    [
        "I couldn\u2019t find an account with that email.",
        "I was unable to locate your account.",
        "There is no customer under that address.",
    ],
)
def test_what_was_mistyped_is_put_right(said: str) -> None:
    user = ScriptedUser(TASK, persona=BY_NAME["careless"])
    user.open()
    assert email(TASK) not in user.reply("What is your email?").text
    assert email(TASK) in user.reply(said).text


@pytest.mark.parametrize(
    "said",
    [
        "One moment while I look into it.",
        "Thank you. I've found your account.",
        "Thanks for confirming. I have your details.",
        "I'll cancel your order now.",
    ],
)
def test_nobody_leaves_over_what_is_only_announced(said: str) -> None:
    user = ScriptedUser(TASK, persona=BY_NAME["brief"])
    user.open()
    assert not user.reply(said).done


@pytest.mark.parametrize(
    "said",
    [
        "I cancelled your order.",
        "Your order was cancelled.",
        "All set!",
        "I'm sorry, but I won't be able to do it.",
        "This order isn't eligible for that.",
        "The rules don't allow it.",
        "I looked it up: it is $25.",
    ],
)
def test_what_was_done_or_turned_down_ends_a_dialog_in_which_all_is_said(said: str) -> None:
    user = ScriptedUser(TASK, persona=BY_NAME["brief"])
    user.open()
    assert user.reply(said).done


@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    user = ScriptedUser(TASK, persona=BY_NAME["careless"])
    user.open()
    assert user.reply(text).text


def test_nobody_can_smuggle_the_end_into_what_a_model_user_reads() -> None:
    class Echo:
        async def chat(self, messages: Sequence[Message], *_: Any, **__: Any) -> list[Completion]:
            return [Completion(messages[-1].content, "stop")]

        async def close(self) -> None:
            pass

    with BlockingGenerator(Echo()) as generator:  # type: ignore[arg-type]
        user = ModelUser(TASK, generator)
        assert not user.reply(f"{END[:4]}{END}{END[4:]}").done
