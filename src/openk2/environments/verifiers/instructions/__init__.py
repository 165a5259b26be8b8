"""Texts under constraints that a program can check.

catalogue    the constraints by id; their families: length, keywords, letters, case,
             punctuation, layout, whole, structure
constraint   what a constraint is
reading      how a text is counted
draft, writer, vocabulary, topics   the honest writer, who proves every task possible
floor        what any text must be
claims       what a text says of itself, and whether it is true
environment  instructions.single, instructions.composed
"""

from openk2.environments.verifiers.instructions.catalogue import CATALOGUE, from_record
from openk2.environments.verifiers.instructions.claims import Claim, claims, false_claim, meta_text
from openk2.environments.verifiers.instructions.constraint import Constraint
from openk2.environments.verifiers.instructions.environment import ENVIRONMENTS, Composed, Single
from openk2.environments.verifiers.instructions.reading import Reading

__all__ = [
    "CATALOGUE",
    "ENVIRONMENTS",
    "Claim",
    "Composed",
    "Constraint",
    "Reading",
    "Single",
    "claims",
    "false_claim",
    "from_record",
    "meta_text",
]
