"""Logic: puzzles with graders of their own, and the tasks of reasoning-gym."""

from openk2.environments.base import Environment
from openk2.environments.verifiers.logic.ciphers import Cipher, Morse
from openk2.environments.verifiers.logic.countdown import Countdown, TwentyFour
from openk2.environments.verifiers.logic.cryptarithm import Cryptarithm
from openk2.environments.verifiers.logic.gym import GYM_ENVIRONMENTS
from openk2.environments.verifiers.logic.knights import KnightsAndKnaves
from openk2.environments.verifiers.logic.puzzle import Puzzle
from openk2.environments.verifiers.logic.sudoku import Sudoku
from openk2.environments.verifiers.logic.tables import Tables
from openk2.environments.verifiers.logic.zebra import Ordering, Zebra

__all__ = ["ENVIRONMENTS", "PUZZLES"]

PUZZLES: tuple[type[Puzzle], ...] = (
    Countdown, TwentyFour, Sudoku, Cryptarithm, Zebra, Ordering, KnightsAndKnaves, Tables, Morse,
    Cipher,
)  # fmt: skip
ENVIRONMENTS: tuple[type[Environment], ...] = (*PUZZLES, *GYM_ENVIRONMENTS)
