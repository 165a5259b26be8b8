"""k2 environments: what it prints, and what it refuses in one line."""

import io
import json

import pytest

from openk2.cli import main
from openk2.core.records import Score
from openk2.environments.verifiers.logic.countdown import Countdown


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["environments", *arguments]) == code
    return capsys.readouterr().out


def test_list_names_all_families(capsys: pytest.CaptureFixture[str]) -> None:
    names = json.loads(shown(capsys, "list", "--json"))
    assert json.loads(shown(capsys, "--json", "list")) == names
    families = {name.partition(".")[0] for name in names}
    assert families == {
        *("maths", "logic", "stem", "coding", "instructions", "faithfulness", "safety"),
        "tool_world",
    }
    assert all(name in shown(capsys, "list") for name in names)


def test_show_is_the_task_and_with_solved_the_way_through(
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = ("tool_world.retail", "--index", "4", "--split", "test")
    plain = json.loads(shown(capsys, "show", *place, "--json"))
    assert [message["role"] for message in plain["messages"]] == ["system", "user"]
    assert len(plain["tools"]) >= 10 and "score" not in plain
    solved = json.loads(shown(capsys, "show", *place, "--json", "--solved"))
    assert solved["score"]["reward"] == 1.0
    assert any("calls" in message for message in solved["messages"])
    assert "reward 1.0" in shown(capsys, "show", *place, "--solved")
    assert "maths.arithmetic" in shown(capsys, "show", "maths.arithmetic", "--difficulty", "0.9")


def test_verify_reads_a_response(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ("maths.arithmetic", "--index", "2")
    solved = json.loads(shown(capsys, "show", *place, "--json", "--solved"))
    for response, reward in ((solved["messages"][-1]["content"], 1.0), ("Answer: dunno", 0.0)):
        monkeypatch.setattr("sys.stdin", io.StringIO(response))
        found = json.loads(shown(capsys, "verify", *place, "--json"))
        assert found["reward"] == reward and found["valid"]


def test_check_is_a_table_of_who_is_paid(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(
        shown(capsys, "check", "tool_world.retail", "maths.algebra", "--count", "6", "--json")
    )
    paid = {(row["environment"], row["player"]): row["paid"] for row in rows}
    assert paid["tool_world.retail", "honest"] == paid["maths.algebra", "honest"] == 1.0
    assert {name for (name, player), share in paid.items() if player == "honest"} == {
        "tool_world.retail",
        "maths.algebra",
    }
    assert not any(share for (_, player), share in paid.items() if player != "honest")
    assert "100.0%" in shown(capsys, "check", "maths.algebra", "--count", "2")


def test_one_task_has_a_neighbour_too(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(shown(capsys, "check", "logic.countdown", "--count", "1", "--json"))
    assert {row["player"]: row["paid"] for row in rows} == {
        "honest": 1.0, "empty": 0.0, "echo": 0.0, "no idea": 0.0, "neighbour": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reward", "unfair"), [(1.0, ("empty", "echo", "no idea", "neighbour")), (0.0, ("honest",))]
)
def test_check_fails_where_the_wrong_are_paid(
    reward: float,
    unfair: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Countdown, "grade", lambda self, truth, response: Score(reward))
    said = shown(capsys, "check", "logic.countdown", "--count", "3", code=1)
    assert all(f"logic.countdown: {player} was paid {reward:.1%} of 3" in said for player in unfair)
    assert said.count("was paid") == len(unfair)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["show", "maths.alchemy"], "no environment 'maths.alchemy'; maths has: maths."),
        (["show", "alchemy"], "no environment 'alchemy'; families: maths, "),
        (["show", "tool_world.retial"], "no environment 'tool_world.retial'"),
        (["show", "maths.algebra", "--index", "-1"], "tasks are numbered from 0"),
        (["show", "maths.algebra", "--split", "dev"], "there are train, validation, test"),
        (["show", "maths.algebra", "--difficulty", "2"], "it lies between 0 and 1"),
        (["check", "maths.algebra", "--count", "0"], "--count is 0"),
        (["check", "nothing"], "no environment 'nothing'"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["environments", *arguments]) == 2
    said = capsys.readouterr()
    assert not said.out and complaint in said.err and said.err.count("\n") == 1
