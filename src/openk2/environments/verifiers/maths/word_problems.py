"""Word problems: stories composed step by step, and rates, mixtures, ages, meetings, purchases."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

from openk2.environments.base import Problem
from openk2.environments.verifiers.maths.draws import number_text, scaled
from openk2.environments.verifiers.maths.grading import Maker, MathsEnvironment, problem

__all__ = ["WordProblems"]

PEOPLE = ("Amira", "Bruno", "Chen", "Dora", "Emeka", "Farah", "Goran", "Hana", "Ivo", "Jun")
THINGS = (
    ("marbles", "bags"),
    ("stamps", "envelopes"),
    ("apples", "crates"),
    ("pencils", "boxes"),
    ("seashells", "jars"),
    ("tiles", "pallets"),
    ("candles", "cartons"),
    ("bolts", "drawers"),
)
MAX_COUNT = 100_000


@dataclass
class _Story:
    """A count that changes sentence by sentence; `steps` are the same for equal stories."""

    rng: random.Random
    who: str
    things: str
    holders: str
    count: int
    size: int  # of the numbers drawn
    sentences: list[str] = field(default_factory=list)
    steps: list[tuple[str, int, int]] = field(default_factory=list)

    def tell(self, step: tuple[str, int, int], *wordings: str) -> None:
        self.steps.append(step)
        self.sentences.append(self.rng.choice(wordings))

    def divisor(self, limit: int) -> int:
        """A divisor of the count from 2 to the limit, 1 where there is none."""
        found = [d for d in range(2, limit + 1) if self.count % d == 0]
        return self.rng.choice(found) if found else 1


def _gain(story: _Story) -> bool:
    n = story.rng.randint(2, story.size)
    story.count += n
    story.tell(
        ("gain", n, 0),
        f"Then {story.who} finds {n} more.",
        f"A neighbour adds {n} {story.things}.",
        f"{n} further {story.things} arrive by post.",
    )
    return True


def _lose(story: _Story) -> bool:
    if story.count < 4:
        return False
    n = story.rng.randint(1, min(story.size, story.count - 2))
    story.count -= n
    story.tell(
        ("lose", n, 0),
        f"After that, {n} of them turn out to be broken and are thrown away.",
        f"{story.who} sells {n} of them.",
        f"{n} of the {story.things} go missing.",
    )
    return True


def _packed(story: _Story) -> bool:
    packs, each = story.rng.randint(2, 9), story.rng.randint(3, story.size)
    story.count += packs * each
    story.tell(
        ("packed", packs, each),
        f"{story.who} buys {packs} {story.holders} with {each} {story.things} in each.",
        f"Next come {packs} {story.holders}, each of them holding {each} {story.things}.",
    )
    return True


def _give(story: _Story) -> bool:
    q = story.divisor(12)
    if q == 1:
        return False
    p = story.rng.randint(1, q - 1)
    share = Fraction(p, q)
    story.count -= int(story.count * share)
    friend = story.rng.choice([one for one in PEOPLE if one != story.who])
    story.tell(
        ("give", share.numerator, share.denominator),
        f"{story.who} gives {share} of all the {story.things} to {friend}.",
        f"Then {friend} takes {share} of what is there.",
    )
    return True


def _multiply(story: _Story) -> bool:
    times = story.rng.randint(2, 4)
    word = {2: "doubles", 3: "triples", 4: "quadruples"}[times]
    if story.count * times > MAX_COUNT:
        return False
    story.count *= times
    story.tell(
        ("multiply", times, 0),
        f"A generous aunt {word} the number of {story.things}.",
        f"Within a month the number of {story.things} {word}.",
    )
    return True


def _split(story: _Story) -> bool:
    groups = story.divisor(9)
    if groups == 1 or story.count // groups < 3:
        return False
    story.count //= groups
    story.tell(
        ("split", groups, 0),
        f"{story.who} divides all of them equally into {groups} piles and keeps one pile only.",
        f"They are shared out equally among {groups} people, one of whom is {story.who}; from now "
        f"on only {story.who}'s share counts.",
    )
    return True


def _percent(story: _Story) -> bool:
    wholes = [p for p in range(5, 100, 5) if story.count * p % 100 == 0]
    if not wholes:
        return False
    percent = story.rng.choice(wholes)
    story.count -= story.count * percent // 100
    story.tell(
        ("percent", percent, 0),
        f"{story.who} donates {percent}% of the {story.things} to a school.",
        f"A flood ruins {percent}% of them, which are given up.",
    )
    return True


STEPS: Sequence[Callable[[_Story], bool]] = (
    _gain,
    _lose,
    _packed,
    _give,
    _multiply,
    _split,
    _percent,
)


def _story(rng: random.Random, difficulty: float) -> Problem:
    who, (things, holders) = rng.choice(PEOPLE), rng.choice(THINGS)
    size = scaled(difficulty, 20, 60)
    start = rng.randint(2, 12) * rng.randint(3, size)
    story = _Story(rng, who, things, holders, start, size)
    last = None
    while len(story.steps) < scaled(difficulty, 2, 9):
        step = rng.choice([one for one in STEPS if one is not last])
        last = step if step(story) else last
    price = rng.randint(2, 40)
    opening = rng.choice((f"{who} has {start} {things}.", f"At first {who} owns {start} {things}."))
    units = [things]
    if rng.random() < 0.5:
        question = f"How many {things} does {who} have in the end?"
        answer, ending = story.count, 0
    else:
        question = f"What are {who}'s {things} worth in the end, in cents, at {price} cents each?"
        answer, ending, units = story.count * price, price, ["cents", "cent"]
    text = " ".join((opening, *story.sentences, question))
    truth = {"kind": "number", "answer": str(answer), "units": units}
    return problem(rng, (text,), truth, f"story {start} {story.steps} {ending}")


def _work(rng: random.Random, difficulty: float) -> Problem:
    """Two or three workers together, one of whom may start late."""
    hours = rng.sample(range(2, scaled(difficulty, 25, 80)), 2 if difficulty < 0.5 else 3)
    late = rng.randint(1, 6) if difficulty > 0.3 else 0
    rest = [Fraction(1, hour) for hour in hours[1:]]
    late = late if late * sum(rest) < 1 else 0
    value = late + (1 - late * sum(rest)) / (Fraction(1, hours[0]) + sum(rest))
    names = rng.sample(PEOPLE, len(hours))
    alone = ", ".join(f"{name} needs {hour} hours" for name, hour in zip(names, hours, strict=True))
    start = (
        f"{names[0]} joins {late} hours after the others have begun"
        if late
        else "They all begin at the same time"
    )
    job = rng.choice(("paint a fence", "fill a tank", "sort the archive", "dig a ditch"))
    wordings = [
        f"To {job} alone, {alone}. {start}. How many hours pass from the first moment of work "
        "until the job is done?",
        f"Working alone to {job}, {alone}. {start}, and all keep their own pace. After how many "
        "hours, counted from the beginning of the work, is the job finished?",
    ]
    truth = {"kind": "number", "answer": number_text(value), "units": ["hours", "hour", "h"]}
    return problem(rng, wordings, truth, f"work {hours[0]} {sorted(hours[1:])} {late}")


def _mixture(rng: random.Random, difficulty: float) -> Problem:
    limit = scaled(difficulty, 12, 40)
    count = scaled(difficulty, 2, 4)
    parts = [(rng.randint(1, limit), rng.randint(0, 20) * 5) for _ in range(count)]
    water = rng.randint(1, limit) if difficulty > 0.5 else 0
    acid = sum(litres * percent for litres, percent in parts)
    value = Fraction(acid, sum(litres for litres, _ in parts) + water)
    told = ", ".join(f"{litres} litres of a {percent}% acid solution" for litres, percent in parts)
    more = f" Then {water} litres of water are stirred in." if water else ""
    wordings = [
        f"A chemist mixes {told}.{more} What percentage of the mixture is acid?",
        f"Into a vat go {told}.{more} Find the concentration of acid in the vat, in percent.",
    ]
    truth = {"kind": "number", "answer": number_text(value), "units": ["%", "percent"]}
    return problem(rng, wordings, truth, f"mixture {sorted(parts)} {water}")


def _ages(rng: random.Random, difficulty: float) -> Problem:
    """Ages from a sum or a difference now and a ratio in the past or the future."""
    younger, times = rng.randint(3, scaled(difficulty, 20, 60)), rng.randint(2, 6)
    shift = rng.randint(1, 25)
    future = difficulty > 0.3 and rng.random() < 0.6
    older = times * (younger + shift) - shift if future else times * younger
    first, second = rng.sample(PEOPLE, 2)
    ratio = (
        f"In {shift} years {first} will be {times} times as old as {second} will be then."
        if future
        else f"{first} is {times} times as old as {second}."
    )
    by_sum = rng.random() < 0.5
    other = (
        f"Their ages now add up to {older + younger}."
        if by_sum
        else f"{first} is {older - younger} years older than {second}."
    )
    ahead = rng.randint(2, 30)
    wordings = [
        f"{ratio} {other} How old will {first} be {ahead} years from now?",
        f"{other} {ratio} What will {first}'s age be in {ahead} years?",
    ]
    answer = {"answer": str(older + ahead), "units": ["years old", "years"]}
    identity = f"ages {older} {younger} {shift if future else 0} {by_sum} {ahead}"
    return problem(rng, wordings, {"kind": "number", **answer}, identity)


def _meeting(rng: random.Random, difficulty: float) -> Problem:
    """Two travellers, towards each other or one after the other."""
    slow = rng.randint(8, scaled(difficulty, 60, 130))
    fast = slow + rng.randint(1, 60)
    lead = rng.randint(1, 9)
    towards = rng.random() < 0.5
    first, second = rng.sample(PEOPLE, 2)
    if towards:
        distance = slow * lead + rng.randint(20, scaled(difficulty, 300, 900))
        value = lead + Fraction(distance - slow * lead, slow + fast)
        text = (
            f"{first} and {second} are {distance} km apart and travel towards each other, "
            f"{first} at {slow} km/h and {second} at {fast} km/h. {second} sets off "
            f"{lead} hours later. How many hours after {first}'s start do they meet?"
        )
    else:
        distance = 0
        value = Fraction(slow * lead, fast - slow) + lead
        text = (
            f"{first} leaves a town at {slow} km/h. {lead} hours later {second} follows on the "
            f"same road at {fast} km/h. How many hours after {first}'s departure does "
            f"{second} draw level?"
        )
    truth = {"kind": "number", "answer": number_text(value), "units": ["hours", "hour", "h"]}
    return problem(rng, (text,), truth, f"meeting {slow} {fast} {lead} {distance}")


def _purchase(rng: random.Random, difficulty: float) -> Problem:
    """Two prices from two receipts, then a third receipt."""
    limit = scaled(difficulty, 9, 30)
    while True:
        (a, b), (c, d) = ((rng.randint(2, limit), rng.randint(2, limit)) for _ in range(2))
        if a * d != b * c:
            break
    x, y = rng.randint(2, 10 * limit), rng.randint(2, 10 * limit)
    e, f = rng.randint(2, limit), rng.randint(2, limit)
    one, other = rng.sample([things for things, _ in THINGS], 2)
    text = (
        f"{a} {one} and {b} {other} cost {a * x + b * y} cents, while {c} {one} and {d} {other} "
        f"cost {c * x + d * y} cents."
    )
    wordings = [
        f"{text} How many cents do {e} {one} and {f} {other} cost at the same prices?",
        f"In a shop, {text} {rng.choice(PEOPLE)} takes {e} {one} and {f} {other}. What is the "
        "bill, in cents?",
    ]
    truth = {"kind": "number", "answer": str(e * x + f * y), "units": ["cents", "cent"]}
    return problem(rng, wordings, truth, f"purchase {a} {b} {c} {d} {x} {y} {e} {f}")


def _average(rng: random.Random, difficulty: float) -> Problem:
    """The value that moves an average to a target."""
    count, added = (
        rng.randint(3, scaled(difficulty, 8, 30)),
        rng.randint(1, scaled(difficulty, 1, 5)),
    )
    before, after = rng.randint(40, 95), rng.randint(40, 95)
    total = after * (count + added) - before * count
    value = Fraction(total, added)
    what = "score" if added == 1 else f"average score of the {added} new tests"
    new = "one more test" if added == 1 else f"{added} more tests"
    who = rng.choice(PEOPLE)
    wordings = [
        f"Over {count} tests {who}'s average is {before}. After {new} it is {after}. What was the "
        f"{what}? (Scores may be negative or above 100.)",
        f"{who} averaged {before} points in {count} tests. With {new} the average became {after}. "
        f"Find the {what}; scores may be negative or exceed 100.",
    ]
    truth = {"kind": "number", "answer": number_text(value), "units": ["points"]}
    return problem(rng, wordings, truth, f"average {count} {added} {before} {after}")


class WordProblems(MathsEnvironment):
    """Word problems with exact answers; longer stories and larger numbers with the difficulty."""

    name = "maths.word_problems"
    makers: ClassVar[Sequence[Maker]] = (
        _story,
        _story,
        _work,
        _mixture,
        _ages,
        _meeting,
        _purchase,
        _average,
    )
