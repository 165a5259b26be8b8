"""What the tasks ask for a text about."""

import random
from dataclasses import dataclass

__all__ = ["Topic", "draw_topic"]

KINDS = (
    "a short story", "a note to a friend", "an email to a colleague", "a diary entry", "a letter",
    "a short speech", "a news report", "a summary of a film", "a product description", "a review",
    "a blog post", "a postcard", "a bedtime tale", "a travel report", "a museum guide's talk",
)  # fmt: skip
PEOPLE = (
    "baker", "carpenter", "dancer", "doctor", "farmer", "fisherman", "gardener", "guard", "hunter",
    "lawyer", "librarian", "mayor", "miner", "monk", "painter", "pilot", "plumber", "poet",
    "potter", "sailor", "shepherd", "singer", "student", "tailor", "teacher", "waiter", "weaver",
)  # fmt: skip
THINGS = (
    "bicycle", "broom", "camera", "clock", "coin", "crown", "diary", "drill", "flag", "guitar",
    "hook", "lantern", "lock", "mask", "medal", "pencil", "piano", "purse", "sack", "spoon",
    "stamp", "sword", "telescope", "torch", "vase", "wallet", "watchdog", "wheel", "whip",
)  # fmt: skip
LINKS = (
    "who finds a {thing}", "who loses a {thing}", "who repairs a {thing}", "who sells a {thing}",
    "who steals a {thing}", "who inherits a {thing}", "and an unusual {thing}",
    "who collects one {thing} too many", "who cannot part with a {thing}",
)  # fmt: skip
PLACES = (
    "by the sea", "in a mountain village", "on a long train ride", "during a storm",
    "at a busy market", "in a quiet suburb", "on the first day of spring", "at midnight",
    "in a foreign city", "after the harvest", "on a small island", "in an old theatre",
)  # fmt: skip
REQUESTS = (
    "Write {kind} about a {person} {link} {place}.",
    "Please write {kind} about a {person} {link} {place}.",
    "I need {kind} about a {person} {link} {place}.",
    "Compose {kind} about a {person} {link} {place}.",
)


@dataclass(frozen=True)
class Topic:
    """What a text is to be about.

    request    as a sentence
    required   the words that any text about it must use
    subject    the same for two topics exactly when only the way of asking differs
    """

    request: str
    required: tuple[str, ...]
    subject: tuple[str, ...] = ()


def draw_topic(rng: random.Random) -> Topic:
    """One of some 1.2 million, without counting how it is said."""
    kind, place, link = rng.choice(KINDS), rng.choice(PLACES), rng.choice(LINKS)
    person, thing = rng.choice(PEOPLE), rng.choice(THINGS)
    request = rng.choice(REQUESTS).format(
        kind=kind, person=person, link=link.format(thing=thing), place=place
    )
    return Topic(request, (person, thing), (kind, person, link, thing, place))
