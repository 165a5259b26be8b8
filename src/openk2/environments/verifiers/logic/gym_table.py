"""Which datasets of reasoning-gym 0.1.25 are used, how, and which are not and why."""

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

__all__ = ["COPIED", "DATASETS", "EXCLUDED", "FORMS", "NUMBERS", "Dataset"]


class Dataset(NamedTuple):
    """How a dataset is used.

    questions   asked in one task, so many that the commonest answer, given to each, is right in
                less than one task of a hundred
    top         the share of its curriculum's levels that difficulty 1 stands for: the largest at
                which a task is drawn in 30 ms and has 9,000 characters; None where it has no
                curriculum or no level of it is fast enough: difficulty changes nothing there
    bottom      the share that difficulty 0 stands for: more than 0 where the first levels hold
                so few problems or answers that they are guessed
    """

    questions: int
    top: float | None
    bottom: float = 0.0


DATASETS: Mapping[str, Dataset] = {
    "ab": Dataset(1, 1.0),
    "advanced_geometry": Dataset(2, 1.0),
    "aiw": Dataset(3, 1.0),
    "arc_1d": Dataset(1, 0.75),
    "arc_agi": Dataset(1, 1.0),
    "base_conversion": Dataset(1, 1.0),
    "basic_arithmetic": Dataset(2, 1.0),
    "bf": Dataset(2, 0.5),
    "binary_alternation": Dataset(4, 1.0),
    "binary_matrix": Dataset(1, 0.75),
    "bitwise_arithmetic": Dataset(1, 1.0),
    "caesar_cipher": Dataset(2, 0.25),
    "calendar_arithmetic": Dataset(3, 1.0),
    "chain_sum": Dataset(2, 1.0),
    "coin_flip": Dataset(3, 1.0, 0.25),
    "color_cube_rotation": Dataset(2, 0.5),
    "complex_arithmetic": Dataset(1, 1.0),
    "count_bits": Dataset(4, 1.0),
    "count_primes": Dataset(2, 1.0),
    "cryptarithm": Dataset(1, 1.0),
    "decimal_arithmetic": Dataset(1, 0.25),
    "decimal_chain_sum": Dataset(1, 1.0),
    "dice": Dataset(2, 1.0),
    "emoji_mystery": Dataset(2, 1.0),
    "family_relationships": Dataset(4, 1.0),
    "figlet_font": Dataset(1, 1.0),
    "fraction_simplification": Dataset(1, 1.0),
    "futoshiki": Dataset(1, 0.75),
    "game_of_life": Dataset(3, 0.0),
    "gcd": Dataset(8, 1.0),
    "group_anagrams": Dataset(1, 1.0),
    "gsm_symbolic": Dataset(2, None),
    "jugs": Dataset(3, 0.0),
    "kakurasu": Dataset(2, 1.0),
    "knights_knaves": Dataset(1, 1.0),
    "largest_island": Dataset(3, 0.75, 0.25),
    "lcm": Dataset(1, 1.0),
    "leg_counting": Dataset(2, 1.0, 0.125),
    "letter_counting": Dataset(7, 1.0),
    "letter_jumble": Dataset(1, 1.0),
    "list_functions": Dataset(3, None),
    "manipulate_matrix": Dataset(2, 0.75),
    "maze": Dataset(4, 0.25),
    "mini_sudoku": Dataset(2, 1.0),
    "modulo_grid": Dataset(4, 0.0),
    "n_queens": Dataset(2, 0.75, 0.5),
    "needle_haystack": Dataset(1, 0.25),
    "number_filtering": Dataset(1, 1.0),
    "number_format": Dataset(3, 0.25),
    "number_sequence": Dataset(3, 0.0),
    "number_sorting": Dataset(1, 1.0),
    "palindrome_generation": Dataset(1, 1.0),
    "palindrome_partitioning": Dataset(2, 1.0),
    "path_star": Dataset(1, 1.0),
    "pool_matrix": Dataset(1, 1.0),
    "power_function": Dataset(1, 1.0),
    "prime_factorization": Dataset(1, 1.0),
    "products": Dataset(3, 1.0),
    "quantum_lock": Dataset(2, 0.75),
    "rearc": Dataset(2, 0.75),
    "rotate_matrix": Dataset(1, 0.75),
    "rotten_oranges": Dataset(4, 0.25),
    "sentence_reordering": Dataset(2, 1.0),
    "shortest_path": Dataset(7, 0.25),
    "simple_equations": Dataset(2, 1.0),
    "simple_geometry": Dataset(2, 1.0),
    "sokoban": Dataset(2, None),
    "spell_backward": Dataset(1, 1.0),
    "spiral_matrix": Dataset(1, 0.75),
    "string_insertion": Dataset(1, 1.0),
    "string_manipulation": Dataset(1, 1.0),
    "string_splitting": Dataset(1, 1.0),
    "string_synthesis": Dataset(1, 1.0),
    "sudoku": Dataset(1, None),
    "survo": Dataset(1, 0.25),
    "time_intervals": Dataset(2, 1.0),
    "tower_of_hanoi": Dataset(3, 0.5, 0.25),
    "tsumego": Dataset(3, 0.25),
    "word_sequence_reversal": Dataset(1, 1.0),
    "word_sorting": Dataset(1, 1.0),
}

# Where an answer can be right without being the one that is stored: what it may consist of. Some
# of these scorers execute the answer; nothing that fits its form here does anything.
FORMS: Mapping[str, str] = {
    "bitwise_arithmetic": r"-?0x[0-9a-fA-F]{1,200}",
    "coin_flip": r"[0-9]{1,9}(?:[./][0-9]{1,12})?",
    "complex_arithmetic": r"[-+0-9.ij ]{1,100}",
    "cryptarithm": r"(?:[A-Z]=[0-9],? ?){1,10}",
    "dice": r"[0-9]{1,18}/[0-9]{1,18}",
    "group_anagrams": r"[\[\]\"a-z, \n]{1,5000}",
    "jugs": r"[\[\]\"a-zA-Z>, \n-]{1,2000}",
    "kakurasu": r"[01 \n]{1,500}",
    "n_queens": r"[Q_ \n]{1,500}",
    "palindrome_generation": r"[a-z]{1,500}",
    "palindrome_partitioning": r"[\[\]\"a-z, \n]{1,5000}",
    "power_function": r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][-+]?[0-9]{1,3})?",
    "quantum_lock": r"[A-C](?: → [A-C]){0,50}",
    "sokoban": r"[UDLR]{1,300}",
    "survo": r"[0-9 \n]{1,500}",
    "tower_of_hanoi": r"(?:Move disk [0-9]{1,2} from Peg [0-9] to Peg [0-9]\n?){1,300}",
}

# Where the answer is one number that can be written in several ways: the largest relative error. In
# decimal_arithmetic the stored answer was rounded at every step, to 6 digits or 8. The scorers of
# these accept 3 decimal places where 10 are asked for, and any of the numbers to choose from.
NUMBERS: Mapping[str, Fraction] = {
    "decimal_arithmetic": Fraction(1, 10**6),
    "decimal_chain_sum": Fraction(0),
    "number_format": Fraction(1, 10**13),
}

# Where what is to be changed often stays as it is: a problem whose answer stands in its question is
# not asked.
COPIED = frozenset(
    ("arc_1d", "bitwise_arithmetic", "prime_factorization", "spell_backward", "string_insertion",
     "string_manipulation")
)  # fmt: skip

_CHOICE = "true or false, yes or no, or a choice of a few (paper section 3.1 leaves those out)"
_NO_ANSWER = "the generator gives no answer, so no honest response is known"
_EXECUTED = "many answers are right, and its scorer executes what it is given as Python"
EXCLUDED: Mapping[str, str] = {
    "composite": "a mixture of the others",
    **dict.fromkeys(
        ("boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"), _NO_ANSWER
    ),
    **dict.fromkeys(
        ("acre", "circuit_logic", "course_schedule", "game_of_life_halting", "isomorphic_strings",
         "knight_swap", "mahjong_puzzle", "ransom_note", "self_reference", "syllogism"),
        _CHOICE,
    ),
    **dict.fromkeys(
        ("intermediate_integration", "polynomial_multiplication", "simple_integration"), _EXECUTED
    ),
    "codeio": "its generator executes collected programs that read and write files",
    "countdown": "logic.countdown is ours; this scorer executes the answer",
    "polynomial_equations": "full marks for a list of guesses, and 0.0 is right too often",
    "puzzle24": "logic.twenty_four is ours; this scorer executes the answer",
    "rectangle_count": "small numbers are right too often, and one question has 7,000 characters",
    "word_ladder": "its generator holds 20,000 problems at most, and takes 50 ms to begin",
    "zebra_puzzles": "logic.zebra is ours; here one name in a few is right two times in three",
}  # fmt: skip
