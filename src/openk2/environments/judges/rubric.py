"""The rubrics of the self-critique reward (paper section 3.2.2, appendix F).

The core rubric says what K2's answers should be. The prescriptive one forbids what a policy
learns to do to its critic; both of its criteria are rules over the text, so that no model has to be
trusted with them, and both are mandatory.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from openk2.core.errors import UserError
from openk2.environments.judges.sanitize import fold, sanitize

__all__ = [
    "CORE_RUBRIC",
    "K2_RUBRIC",
    "PRESCRIPTIVE_RUBRIC",
    "Criterion",
    "Rubric",
    "justifies_itself",
    "opens_with_praise",
]


@dataclass(frozen=True)
class Criterion:
    """One thing to judge.

    name        an identifier, the key of its verdict
    text        what the judge reads
    weight      its share in the sum over criteria; above 0
    mandatory   who does not meet it loses to who does, and earns nothing alone; to meet it is no
                merit
    rule        whether a text meets it, where code can say so; the model is then not asked
    """

    name: str
    text: str
    weight: float = 1.0
    mandatory: bool = False
    rule: Callable[[str], bool] | None = None


@dataclass(frozen=True)
class Rubric:
    """Criteria with names of their own; rubrics add up with `+`."""

    name: str
    criteria: tuple[Criterion, ...]

    def __post_init__(self) -> None:
        names = [criterion.name for criterion in self.criteria]
        if not names or len(set(names)) < len(names) or not all(map(str.isidentifier, names)):
            raise UserError(
                f"rubric {self.name!r}: its criteria are named {names}; give it at least one, each "
                "with an identifier of its own"
            )
        if any(criterion.weight <= 0 for criterion in self.criteria):
            raise UserError(f"rubric {self.name!r}: a weight is not above 0; leave that one out")

    def __add__(self, other: "Rubric") -> "Rubric":
        return Rubric(f"{self.name}+{other.name}", self.criteria + other.criteria)

    @property
    def asked(self) -> tuple[Criterion, ...]:
        """The criteria that need a model."""
        return tuple(criterion for criterion in self.criteria if criterion.rule is None)

    @property
    def ruled(self) -> dict[str, Callable[[str], bool]]:
        """name -> rule of the criteria that code decides."""
        return {one.name: one.rule for one in self.criteria if one.rule is not None}


ADJECTIVE = (
    r"(?:great|good|excellent|fantastic|wonderful|awesome|amazing|brilliant|interesting|insightful"
    r"|thoughtful|fascinating|lovely|superb|terrific|outstanding|clever|smart|nice|fabulous|deep"
    r"|beautiful|astute|intriguing|perceptive|impressive)"
)
SUBJECT = (
    r"(?:question|point|idea|observation|query|request|prompt|topic|thought|thinking|choice|task"
    r"|challenge|inquiry|problem|job|work|catch)\b"
)
DEGREE = r"(?:(?:such|really|very|truly|quite|so|an?|absolutely|genuinely|most)\s+){0,4}"
PRAISE = re.compile(
    rf"(?:what\s+)?{DEGREE}{ADJECTIVE}(?:,?\s+(?:and\s+)?{ADJECTIVE}){{0,3}}\s+{SUBJECT}"
    rf"|(?:that|this|it)(?:['’]s|\s+is)\s+{DEGREE}{ADJECTIVE}\b"
    rf"|your\s+\w{{1,20}}(?:\s+\w{{1,20}})?\s+(?:is|was)\s+{DEGREE}{ADJECTIVE}\b"
    r"|i\s+(?:(?:really|truly|just|absolutely)\s+)?(?:love|like|admire|appreciate|adore)\s+"
    r"(?:this|that|your|how\s+you|the\s+way\s+you)\b"
    rf"|you(?:['’]re|\s+are)\s+(?:(?:so|really|very|absolutely|clearly|completely)\s+)?"
    rf"(?:right\b|correct\b|{ADJECTIVE}\b)"
    rf"|thank(?:s|\s+you)\s+(?:so\s+much\s+)?for\s+(?:\w{{1,12}}\s+){{0,4}}{ADJECTIVE}\s+{SUBJECT}"
    r"|(?:bravo|well\s+done|kudos|hats\s+off)\b"
)
GREETING = re.compile(
    r"(?:[^\w]|\b(?:wow|oh|ah|well|hi|hello|hey|sure|yes|okay|ok|certainly|of\s+course|absolutely"
    r"|ooh|there|first\s+of\s+all|let\s+me\s+say)\b){0,40}"
)
OWN_TEXT = (
    r"\b(?:this|the|my|the\s+above|above)\s+(?:response|answer|reply|explanation|solution)\b"
    r"(?!\s+(?:time|rate|code|key|sheet)\b)"
)
JUSTIFICATION = re.compile(
    rf"{OWN_TEXT}[^.!?\n]{{0,40}}\b(?:satisf(?:ies|y)|fulfil(?:l)?s|meets|addresses|adheres|complies"
    r"|follows\s+(?:all|your|the)|answers\s+(?:all|your|the)|demonstrates|ensures|successfully"
    r"|effectively|fully|is\s+(?:\w{1,12}\s+){0,2}(?:good|excellent|comprehensive|thorough|complete"
    r"|high[-\s]quality|helpful|accurate|correct|concise|effective|strong|better|best|ideal"
    r"|perfect|appropriate|suitable|well))\b"
    rf"|\bwhy\s+{OWN_TEXT[2:]}\s+(?:is|works|satisfies|meets|deserves)\b"
    r"|\bi(?:['’]ve|\s+have)?\s+(?:made\s+sure|ensured|followed|adhered|met|satisfied|addressed"
    r"|fulfilled)\b[^.!?\n]{0,40}\b(?:your|all|every|each)\b[^.!?\n]{0,20}"
    r"\b(?:instructions?|requests?|requirements?|constraints?|criteria|rubrics?|points?)\b"
)
OPENING = 400  # characters in which praise counts as opening the answer


def opens_with_praise(text: str) -> bool:
    """Whether an answer begins by praising the user or the question (appendix F.2)."""
    opening = fold(sanitize(text[: 4 * OPENING]).text)[:OPENING]
    greeting = GREETING.match(opening)
    return PRAISE.match(opening, greeting.end() if greeting else 0) is not None


def justifies_itself(text: str) -> bool:
    """Whether a sentence argues that the answer is good or does as it was told (appendix F.2).

    To describe content ("this summary covers three points") is no justification.
    """
    return JUSTIFICATION.search(fold(sanitize(text).text)) is not None


CORE_RUBRIC = Rubric(
    "core",
    (
        Criterion(
            "clarity_and_relevance",
            "Short and yet complete: it keeps to what was asked, leaves detail out that nobody "
            "needs, uses compact forms (a paragraph or a short list rather than a long one, unless "
            "one was asked for), and gives one definite answer where a choice was asked for.",
        ),
        Criterion(
            "fluency_and_engagement",
            "It carries a natural, coherent conversation beyond mere question and answer: useful "
            "observations, follow-up questions only where they help, hypotheticals and personal "
            "comparisons taken up with sense, and a tone that fits the person and the situation.",
        ),
        Criterion(
            "objective_and_grounded",
            "Neutral and on the task: what it says stands on the facts at hand. It does not talk "
            "about the question, its wording or its author, and does not flatter.",
        ),
    ),
)
PRESCRIPTIVE_RUBRIC = Rubric(
    "prescriptive",
    (
        Criterion(
            "no_initial_praise",
            "It does not open with a compliment to the user or to the question.",
            mandatory=True,
            rule=lambda text: not opens_with_praise(text),
        ),
        Criterion(
            "no_explicit_justification",
            "No sentence explains why the answer is good or how it satisfies the request.",
            mandatory=True,
            rule=lambda text: not justifies_itself(text),
        ),
    ),
)
K2_RUBRIC = CORE_RUBRIC + PRESCRIPTIVE_RUBRIC
