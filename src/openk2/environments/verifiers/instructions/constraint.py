"""One constraint on a text: drawn, described, checked, and met by an honest writer."""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from openk2.core.errors import UserError
from openk2.environments.verifiers.instructions.draft import UNBOUNDED, Draft
from openk2.environments.verifiers.instructions.reading import Reading
from openk2.environments.verifiers.instructions.vocabulary import KEYWORDS

__all__ = ["PROSE", "Constraint", "Counted", "Draw", "listed"]

# What only plain paragraphs of sentences have; constraints that put other lines into a text bar it.
PROSE = frozenset(
    {"sentences", "sentence length", "sentence starts", "sentence content"}
    | {"paragraphs", "paragraph content", "lines"}
)


def listed(words: Sequence[str]) -> str:
    """`"a", "b" and "c"`."""
    quoted = [f'"{word}"' for word in words]
    return " and ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))


@dataclass
class Draw:
    """What the parameters of a task's constraints are drawn from.

    required   the words that the topic demands
    taken      words that other constraints speak of already: no word serves two
    """

    rng: random.Random
    difficulty: float
    required: tuple[str, ...]
    taken: set[str] = field(default_factory=set)

    def keywords(self, count: int) -> tuple[str, ...]:
        """Words that no other constraint of the task speaks of."""
        chosen = self.rng.sample([word for word in KEYWORDS if word not in self.taken], count)
        self.taken.update(chosen)
        return tuple(chosen)

    def keyword(self) -> str:
        return self.keywords(1)[0]

    def size(self, low: int, high: int) -> int:
        """A number of things, larger as the difficulty goes up."""
        middle = low + (high - low) * self.difficulty
        return min(high, max(low, round(self.rng.gauss(middle, (high - low) / 4))))


class Constraint(ABC):
    """Subclasses are frozen dataclasses whose fields are JSON: numbers, strings, tuples of them.

    id         "family.kind"
    takes      what of a text it decides; two constraints of one task never take the same
    bars       what it leaves no room for: it stands beside no constraint that takes one of these
    hardness   in [0, 1], where among the difficulties it belongs
    wordings   how it can be said; format strings over `facts`
    """

    id: ClassVar[str]
    takes: ClassVar[frozenset[str]] = frozenset()
    bars: ClassVar[frozenset[str]] = frozenset()
    hardness: ClassVar[float] = 0.3
    wordings: ClassVar[tuple[str, ...]]

    @classmethod
    @abstractmethod
    def draw(cls, draw: Draw) -> Self:
        """Parameters at random."""

    @abstractmethod
    def check(self, reading: Reading) -> bool:
        """Whether a text meets it; what cannot be decided is not met."""

    @abstractmethod
    def plan(self, draft: Draft) -> None:
        """Have the honest writer meet it; raises Unwritable where the draft leaves no room."""

    def facts(self) -> Mapping[str, Any]:
        """What the wordings speak of."""
        return vars(self)

    def describe(self) -> tuple[str, ...]:
        """Every wording, as a sentence."""
        return tuple(wording.format(**self.facts()) for wording in self.wordings)

    @classmethod
    def conflicts_with(cls, other: "Constraint | type[Constraint]") -> bool:
        """Whether no task may hold both."""
        return (
            cls.id == other.id
            or bool(cls.takes & (other.takes | other.bars))
            or bool(cls.bars & other.takes)
        )

    def record(self) -> dict[str, Any]:
        """As JSON; `catalogue.from_record` makes it again."""
        values = vars(self)
        parameters = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }
        return {"id": self.id, **parameters}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """UserError for parameters that are missing or unknown."""
        names = {one.name for one in fields(cls)}  # type: ignore[arg-type]
        if set(parameters) != names:
            raise UserError(
                f"constraint {cls.id}: parameters {sorted(parameters)}; it has {sorted(names)}"
            )
        return cls(
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in parameters.items()
            }
        )


@dataclass(frozen=True)
class Counted(Constraint):
    """Something occurs at least `low` and at most `high` times; UNBOUNDED is no upper limit."""

    low: int
    high: int

    noun: ClassVar[tuple[str, str]]
    sizes: ClassVar[tuple[int, int]]
    relations: ClassVar[tuple[str, ...]] = ("at least", "between")
    slack: ClassVar[float] = 0.3  # the width of "between", as a share of the number

    @abstractmethod
    def measure(self, reading: Reading) -> int:
        """How often it occurs."""

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        number = draw.rng.randint(*cls.sizes)
        if draw.rng.random() < 0.3 + 0.6 * draw.difficulty:
            return cls(number, number)
        relation = draw.rng.choice(cls.relations)
        if relation == "at least":
            return cls(number, UNBOUNDED)
        if relation == "at most":
            return cls(0, number)
        return cls(number, number + max(1, round(cls.slack * number)))

    def check(self, reading: Reading) -> bool:
        return self.low <= self.measure(reading) <= self.high

    def facts(self) -> Mapping[str, Any]:
        return {**vars(self), "amount": self.amount}

    @property
    def amount(self) -> str:
        """`exactly 3 bullet points` and the like."""
        one, many = self.noun
        if self.low == self.high:
            return f"exactly {self.low} {one if self.low == 1 else many}"
        if self.high == UNBOUNDED:
            return f"at least {self.low} {one if self.low == 1 else many}"
        if self.low == 0:
            return f"at most {self.high} {one if self.high == 1 else many}"
        return f"between {self.low} and {self.high} {many}"
