"""Things on a row of places, known by clues: the solver behind zebra puzzles and seatings.

A thing is a number: thing t belongs to category t // size, and the things of one category take
the places 0 to size - 1, one each. A clue between things a and b allows a set of distances
place(b) - place(a); a clue about one thing allows a set of places.
"""

import itertools
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Clue", "canonical", "clues_that_settle", "count_arrangements", "true_clues"]


@dataclass(frozen=True)
class Clue:
    """What is said of things `a` and `b`; `b` equals `a` where one thing's place is told.

    kind      "at" or "not_at" (place `amount`), "same", "different", "before", "just_before",
              "beside" (either side), "apart" (`amount` places, either side)
    """

    kind: str
    a: int
    b: int
    amount: int = 0

    def allows(self, distance: int) -> bool:
        """Whether place(b) - place(a), or the place itself of a single thing, fits the clue."""
        match self.kind:
            case "at":
                return distance == self.amount
            case "not_at":
                return distance != self.amount
            case "same":
                return distance == 0
            case "different":
                return distance != 0
            case "before":
                return distance > 0
            case "just_before":
                return distance == 1
            case "beside":
                return abs(distance) == 1
            case _:
                return abs(distance) == self.amount


def true_clues(places: Sequence[int], size: int, kinds: Sequence[str]) -> list[Clue]:
    """Every clue of these kinds that holds when thing t stands at places[t]."""
    found = []
    for a, at in enumerate(places):
        for amount in range(size):
            found += [Clue(kind, a, a, amount) for kind in ("at", "not_at")]
        for b in range(len(places)):
            if a // size == b // size or "same" in kinds:
                gap = abs(places[b] - at)
                pairs = (Clue(kind, a, b, gap if kind == "apart" else 0) for kind in kinds)
                found += [clue for clue in pairs if a != b and _sensible(clue, size)]
    return [
        clue
        for clue in found
        if clue.kind in kinds
        and clue.allows(places[clue.b] - places[clue.a] if clue.a != clue.b else places[clue.a])
    ]


def _sensible(clue: Clue, size: int) -> bool:
    """Whether a clue says more than its categories do and is written the one way it has."""
    if clue.kind in ("at", "not_at"):
        return False
    if clue.kind in ("same", "different") and clue.a // size == clue.b // size:
        return False
    if clue.kind == "apart" and clue.amount < 2:
        return False
    return clue.kind in ("before", "just_before") or clue.a < clue.b


def count_arrangements(clues: Sequence[Clue], categories: int, size: int, limit: int) -> int:
    """How many arrangements fit all clues, counted up to `limit`."""
    everywhere = (1 << size) - 1
    domains = [everywhere] * (categories * size)
    relations: list[tuple[int, int, tuple[int, ...]]] = []
    for clue in clues:
        if clue.a == clue.b:
            domains[clue.a] &= sum(1 << place for place in range(size) if clue.allows(place))
        else:
            steps = tuple(d for d in range(1 - size, size) if clue.allows(d))
            relations.append((clue.a, clue.b, steps))
    return _count(domains, relations, size, limit)


def _count(
    domains: list[int], relations: list[tuple[int, int, tuple[int, ...]]], size: int, limit: int
) -> int:
    if not _propagate(domains, relations, size):
        return 0
    thing = min(
        (t for t, places in enumerate(domains) if places.bit_count() > 1),
        key=lambda t: domains[t].bit_count(),
        default=None,
    )
    if thing is None:
        return 1
    found, places = 0, domains[thing]
    while places and found < limit:
        place = places & -places
        places ^= place
        tried = domains.copy()
        tried[thing] = place
        found += _count(tried, relations, size, limit - found)
    return found


def _propagate(
    domains: list[int], relations: list[tuple[int, int, tuple[int, ...]]], size: int
) -> bool:
    """Take places out of `domains` that no arrangement uses; False where nothing is left."""
    everywhere = (1 << size) - 1
    changed = True
    while changed:
        changed = False
        for a, b, steps in relations:
            ahead = behind = 0
            for step in steps:
                ahead |= domains[a] << step if step >= 0 else domains[a] >> -step
                behind |= domains[b] >> step if step >= 0 else domains[b] << -step
            for thing, reach in ((b, ahead), (a, behind)):
                left = domains[thing] & reach & everywhere
                if left != domains[thing]:
                    domains[thing], changed = left, True
        for start in range(0, len(domains), size):
            group = range(start, start + size)
            for thing in group:
                here = domains[thing]
                if here & (here - 1) == 0:
                    for other in group:
                        if other != thing and domains[other] & here:
                            domains[other] &= ~here
                            changed = True
            once = twice = 0
            for thing in group:
                twice |= once & domains[thing]
                once |= domains[thing]
            if once != everywhere:
                return False
            for thing in group:
                only = domains[thing] & ~twice
                if only and only != domains[thing]:
                    domains[thing], changed = only, True
        if not all(domains):
            return False
    return True


def clues_that_settle(
    rng: random.Random, places: Sequence[int], size: int, kinds: Sequence[str]
) -> list[Clue]:
    """Clues that only the arrangement `places` fits and of which none can be left out."""
    candidates = true_clues(places, size, kinds)
    counts = Counter(clue.kind for clue in candidates)  # all kinds get their turn alike
    order = sorted(candidates, key=lambda clue: rng.expovariate(1 / counts[clue.kind]))
    categories = len(places) // size
    low, high = 1, len(order)
    while low < high:  # the fewest first clues that settle it
        middle = (low + high) // 2
        if count_arrangements(order[:middle], categories, size, 2) == 1:
            high = middle
        else:
            low = middle + 1
    kept = order[:low]
    for clue in list(kept):
        fewer = [other for other in kept if other is not clue]
        if count_arrangements(fewer, categories, size, 2) == 1:
            kept = fewer
    rng.shuffle(kept)
    return kept


def canonical(clues: Sequence[Clue], places: Sequence[int], size: int) -> str:
    """The same text for puzzles that differ in the names of things and the order of categories."""
    categories = len(places) // size

    def renamed(thing: int, order: Sequence[int]) -> int:
        return order[thing // size] * size + places[thing]

    def form(order: Sequence[int]) -> list[tuple[str, int, int, int]]:
        found = []
        for clue in clues:
            a, b = renamed(clue.a, order), renamed(clue.b, order)
            if clue.kind not in ("before", "just_before"):
                a, b = min(a, b), max(a, b)
            found.append((clue.kind, a, b, clue.amount))
        return sorted(found)

    return json.dumps(min(form(order) for order in itertools.permutations(range(categories))))
