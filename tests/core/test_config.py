"""Configurations: the round trip through TOML, and every way in which one can be wrong."""

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openk2.core.config import (
    differences,
    from_dict,
    load_toml,
    parse_overrides,
    to_dict,
    to_toml,
    with_overrides,
)
from openk2.core.errors import UserError


@dataclass(frozen=True)
class Leaf:
    rate: float = 1e-05
    count: int = 3
    on: bool = False
    word: str = "a"


@dataclass(frozen=True)
class Branch:
    leaf: Leaf = field(default_factory=Leaf)
    maybe: Leaf | None = None
    rates: tuple[float, ...] = ()
    words: tuple[str, ...] = ()
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 0:
            raise ValueError(f"limit is {self.limit}; it must not be negative")


@dataclass(frozen=True)
class Tree:
    name: str
    branch: Branch
    leaf: Leaf = field(default_factory=Leaf)
    rate: float | None = None
    width: int = 7


FLOATS = st.floats(allow_nan=False)
# A tomllib string is any text without lone surrogates, which no UTF-8 file can hold.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
INTEGERS = st.integers(-(2**63), 2**63 - 1)
LEAVES = st.builds(Leaf, FLOATS, INTEGERS, st.booleans(), TEXT)
BRANCHES = st.builds(
    Branch,
    LEAVES,
    st.none() | LEAVES,
    st.lists(FLOATS).map(tuple),
    st.lists(TEXT).map(tuple),
    st.none() | st.integers(0, 2**40),
)
TREES = st.builds(Tree, TEXT, BRANCHES, LEAVES, st.none() | FLOATS, INTEGERS)
TREE = Tree("nano", Branch())


@given(tree=TREES)
@example(tree=Tree('\x7f"\\\r\n\u2028😀', Branch(rates=(1e-05, float("inf"), -0.0, 1e16, 5e-324))))
def test_toml_round_trip(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> None:
    text = to_toml(tree)
    path = tmp_path_factory.getbasetemp() / "round_trip.toml"
    path.write_text(text, encoding="utf-8", newline="")
    again = load_toml(Tree, path)
    assert again == tree
    # Equal is not enough for floats: -0.0 == 0.0. The text that either writes is the same.
    assert to_toml(again) == text
    assert differences(tree, again) == []


@given(tree=TREES)
def test_dictionary_round_trip(tree: Tree) -> None:
    assert from_dict(Tree, to_dict(tree)) == tree


def test_none_is_the_word_none_in_toml() -> None:
    text = to_toml(TREE)
    assert tomllib.loads(text)["rate"] == "none"
    assert tomllib.loads(text)["branch"]["maybe"] == "none"


def test_a_float_may_be_written_as_an_integer() -> None:
    leaf = from_dict(Leaf, {"rate": 2})
    assert leaf.rate == 2.0
    assert isinstance(leaf.rate, float)


def refusal(values: dict[str, object], cls: type = Tree) -> str:
    with pytest.raises(UserError) as caught:
        from_dict(cls, values, "here")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unknown_key_names_the_nearest() -> None:
    message = refusal({"name": "a", "branch": {"leaf": {"conut": 1}}})
    assert message == "here: branch: leaf: unknown key 'conut'; did you mean 'count'?"


def test_unknown_key_like_no_other_lists_them_all() -> None:
    assert refusal({"zzzzzz": 1}, Leaf).endswith("the keys here are rate, count, on, word")


def test_missing_key() -> None:
    assert refusal({"name": "a"}) == "here: missing key 'branch'"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 1.0}, "here: count: expected int, got 1.0"),
        ({"count": True}, "here: count: expected int, got True"),
        ({"count": "1"}, "here: count: expected int, got '1'"),
        ({"count": "none"}, "here: count: expected int, got 'none'"),
        ({"rate": True}, "here: rate: expected float, got True"),
        ({"rate": "1"}, "here: rate: expected float, got '1'"),
        ({"rate": None}, "here: rate: expected float, got None"),
        ({"on": 1}, "here: on: expected bool, got 1"),
        ({"word": 1}, "here: word: expected str, got 1"),
        ({"word": ["a"]}, "here: word: expected str, got ['a']"),
    ],
)
def test_wrong_type(values: dict[str, object], message: str) -> None:
    assert refusal(values, Leaf) == message


def test_wrong_type_deep_inside_says_where() -> None:
    values = {"name": "a", "branch": {"rates": [1.0, "fast"]}}
    assert refusal(values) == "here: branch: rates[1]: expected float, got 'fast'"
    assert "expected a list" in refusal({"name": "a", "branch": {"words": "one"}})
    assert "expected a table" in refusal({"name": "a", "branch": 3})


def test_impossible_value_says_where() -> None:
    message = refusal({"name": "a", "branch": {"limit": -1}})
    assert message == "here: branch: limit is -1; it must not be negative"


def test_not_a_number_is_no_setting() -> None:
    # NaN passes every range check that is written as a refusal, and equals nothing: a run that was
    # configured with it could never be resumed.
    assert "not a number" in refusal({"rate": float("nan")}, Leaf)
    with pytest.raises(UserError, match="leaf: rate: is nan, not a number"):
        with_overrides(TREE, {"leaf.rate": "nan"})


def test_a_float_beyond_the_largest_is_refused() -> None:
    assert "rate" in refusal({"rate": 10**400}, Leaf)


def test_text_that_is_not_unicode_is_refused() -> None:
    # What Python makes of an argument that is not UTF-8; no TOML file can hold it.
    assert "UTF-8" in refusal({"word": "caf\udce9"}, Leaf)
    with pytest.raises(UserError, match="UTF-8"):
        with_overrides(TREE, {"branch.words": "a,caf\udce9"})


@pytest.mark.parametrize(
    "data",
    [
        b"word = \n",
        b"word = 'a'\nword = 'b'\n",
        b"\xff\xfe",
        b"count = " + b"9" * 5000,
        b"word = " + b"[" * 5000,
    ],
)
def test_a_file_that_is_not_toml(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"broken\.toml: not valid TOML"):
        load_toml(Leaf, path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.toml: no such file"):
        load_toml(Leaf, tmp_path / "absent.toml")


@given(tree=TREES)
def test_overrides_set_any_leaf_from_text(tree: Tree) -> None:
    overrides = {
        "name": tree.name,
        "width": str(tree.width),
        "rate": "none" if tree.rate is None else repr(tree.rate),
        "leaf.on": str(tree.leaf.on),
        "leaf.rate": repr(tree.leaf.rate),
        "branch.limit": str(tree.branch.limit).lower(),
        "branch.rates": ",".join(map(repr, tree.branch.rates)),
    }
    changed = with_overrides(TREE, overrides)
    assert changed == Tree(
        tree.name,
        Branch(limit=tree.branch.limit, rates=tree.branch.rates),
        Leaf(on=tree.leaf.on, rate=tree.leaf.rate),
        tree.rate,
        tree.width,
    )
    assert Tree("nano", Branch()) == TREE


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("leaf.conut", "1", "--leaf.conut: unknown key 'conut'; did you mean 'count'?"),
        ("laef.count", "1", "--laef.count: unknown key 'laef'; did you mean 'leaf'?"),
        ("leaf.count", "many", "--leaf.count: expected int, got 'many'"),
        ("leaf.count", "1.0", "--leaf.count: expected int, got '1.0'"),
        ("leaf.count", "none", "--leaf.count: expected int, got 'none'"),
        ("leaf.rate", "fast", "--leaf.rate: expected float, got 'fast'"),
        ("leaf.on", "yes", "--leaf.on: expected true or false, got 'yes'"),
        ("branch.rates", "1,b", "--branch.rates: expected float, got 'b'"),
        ("branch.limit", "-1", "config: branch: limit is -1; it must not be negative"),
        ("width.x", "1", "--width.x: 'width' has no keys of its own"),
        ("branch.maybe.rate", "1", "--branch.maybe.rate: 'maybe' is none here"),
        ("leaf", "1", "--leaf: is a table; set one of leaf.rate, leaf.count, leaf.on, leaf.word"),
        ("", "1", "unknown key ''"),
        ("leaf.", "1", "--leaf.: unknown key ''"),
    ],
)
def test_wrong_override(key: str, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        with_overrides(TREE, {key: text})
    assert message in str(caught.value)


def test_parse_overrides() -> None:
    arguments = ["--a.b=1=2", "--c-d=-3", "--e="]
    assert parse_overrides(arguments) == {"a.b": "1=2", "c_d": "-3", "e": ""}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stray"], "unexpected argument 'stray'"),
        (["--"], "unexpected argument '--'"),
        (["-x"], "unexpected argument '-x'"),
        (["--a.b"], "--a.b needs a value"),
        (["--a.b", "1"], "--a.b needs a value: write --a.b=value"),
    ],
)
def test_arguments_that_are_no_overrides(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_overrides(arguments)
    assert message in str(caught.value)


def test_differences_name_every_changed_leaf() -> None:
    changed = replace(TREE, width=8, branch=replace(TREE.branch, maybe=Leaf(count=4)))
    assert differences(TREE, TREE) == []
    assert "width: 7 -> 8" in differences(TREE, changed)
    assert "branch.maybe.count: None -> 4" in differences(TREE, changed)
    assert [line.split(":")[0] for line in differences(changed, TREE)] == [
        "branch.maybe.count",
        "branch.maybe.on",
        "branch.maybe.rate",
        "branch.maybe.word",
        "width",
    ]
