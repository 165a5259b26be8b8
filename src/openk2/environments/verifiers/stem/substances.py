"""Elements, ions and molecules; formulas read into element counts; equations balanced.

Atomic masses in g/mol are IUPAC's abridged standard atomic weights (2021), conventional values
where the standard is an interval.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction

__all__ = [
    "ANIONS",
    "ATOMIC_MASSES",
    "CATIONS",
    "MOLECULES",
    "Ion",
    "balanced",
    "composition",
    "molar_mass",
    "organic",
    "salt",
]

ATOMIC_MASSES: Mapping[str, float] = {
    "H": 1.008, "He": 4.0026, "Li": 6.94, "Be": 9.0122, "B": 10.81, "C": 12.011, "N": 14.007,
    "O": 15.999, "F": 18.998, "Ne": 20.180, "Na": 22.990, "Mg": 24.305, "Al": 26.982, "Si": 28.085,
    "P": 30.974, "S": 32.06, "Cl": 35.45, "Ar": 39.95, "K": 39.098, "Ca": 40.078, "Sc": 44.956,
    "Ti": 47.867, "V": 50.942, "Cr": 51.996, "Mn": 54.938, "Fe": 55.845, "Co": 58.933,
    "Ni": 58.693, "Cu": 63.546, "Zn": 65.38, "Ga": 69.723, "Ge": 72.630, "As": 74.922,
    "Se": 78.971, "Br": 79.904, "Kr": 83.798, "Rb": 85.468, "Sr": 87.62, "Y": 88.906, "Zr": 91.224,
    "Nb": 92.906, "Mo": 95.95, "Ru": 101.07, "Rh": 102.91, "Pd": 106.42, "Ag": 107.87,
    "Cd": 112.41, "In": 114.82, "Sn": 118.71, "Sb": 121.76, "Te": 127.60, "I": 126.90,
    "Xe": 131.29, "Cs": 132.91, "Ba": 137.33, "La": 138.91, "W": 183.84, "Pt": 195.08,
    "Au": 196.97, "Hg": 200.59, "Tl": 204.38, "Pb": 207.2, "Bi": 208.98, "Th": 232.04, "U": 238.03,
}  # fmt: skip

Ion = tuple[str, str, int]  # formula, name, size of the charge

CATIONS: Sequence[Ion] = (
    ("Li", "lithium", 1), ("Na", "sodium", 1), ("K", "potassium", 1), ("Rb", "rubidium", 1),
    ("Ag", "silver", 1), ("NH4", "ammonium", 1), ("Mg", "magnesium", 2), ("Ca", "calcium", 2),
    ("Sr", "strontium", 2), ("Ba", "barium", 2), ("Zn", "zinc", 2), ("Cu", "copper(II)", 2),
    ("Fe", "iron(II)", 2), ("Fe", "iron(III)", 3), ("Al", "aluminium", 3),
    ("Cr", "chromium(III)", 3), ("Pb", "lead(II)", 2), ("Ni", "nickel(II)", 2),
    ("Co", "cobalt(II)", 2), ("Sn", "tin(IV)", 4),
)  # fmt: skip
ANIONS: Sequence[Ion] = (
    ("F", "fluoride", 1), ("Cl", "chloride", 1), ("Br", "bromide", 1), ("I", "iodide", 1),
    ("NO3", "nitrate", 1), ("ClO3", "chlorate", 1), ("ClO4", "perchlorate", 1),
    ("SO4", "sulfate", 2), ("SO3", "sulfite", 2), ("CO3", "carbonate", 2), ("CrO4", "chromate", 2),
    ("C2O4", "oxalate", 2), ("PO4", "phosphate", 3), ("AsO4", "arsenate", 3), ("O", "oxide", 2),
    ("S", "sulfide", 2), ("CH3COO", "acetate", 1), ("S2O3", "thiosulfate", 2),
)  # fmt: skip
MOLECULES: Sequence[tuple[str, str]] = (
    ("H2O", "water"), ("CO2", "carbon dioxide"), ("NH3", "ammonia"), ("SO2", "sulfur dioxide"),
    ("N2O", "nitrous oxide"), ("H2O2", "hydrogen peroxide"), ("PCl5", "phosphorus pentachloride"),
    ("SF6", "sulfur hexafluoride"), ("C6H12O6", "glucose"), ("C12H22O11", "sucrose"),
    ("CO(NH2)2", "urea"), ("C8H10N4O2", "caffeine"), ("C9H8O4", "aspirin"), ("SiCl4",
    "silicon tetrachloride"), ("HNO3", "nitric acid"), ("H2SO4", "sulfuric acid"),
    ("N2O4", "dinitrogen tetroxide"), ("C10H8", "naphthalene"), ("CHCl3", "chloroform"),
)  # fmt: skip
PIECE = re.compile(r"([A-Z][a-z]?)([0-9]*)|(\()|\)([0-9]*)")


def composition(formula: str) -> Counter[str]:
    """How often each element occurs in one formula unit, `Ca3(PO4)2` say."""
    levels: list[Counter[str]] = [Counter()]
    for element, times, opening, group_times in PIECE.findall(formula):
        if element:
            levels[-1][element] += int(times or 1)
        elif opening:
            levels.append(Counter())
        else:
            inner = levels.pop()
            for one, count in inner.items():
                levels[-1][one] += count * int(group_times or 1)
    return levels[0]


def molar_mass(formula: str) -> float:
    """In g/mol."""
    return sum(ATOMIC_MASSES[element] * times for element, times in composition(formula).items())


def salt(cation: Ion, anion: Ion) -> str:
    """The neutral formula of two ions."""
    shared = math.lcm(cation[2], anion[2])
    return _times(cation[0], shared // cation[2]) + _times(anion[0], shared // anion[2])


def _times(ion: str, count: int) -> str:
    if count == 1:
        return ion
    return f"({ion}){count}" if sum(composition(ion).values()) > 1 else f"{ion}{count}"


def organic(rng: random.Random, most: int) -> str:
    """A formula C_x H_y O_z with up to `most` carbon atoms and a possible number of hydrogens."""
    carbon = rng.randint(1, most)
    hydrogen = 2 * rng.randint(max(1, carbon // 2), carbon + 1)
    oxygen = rng.randint(0, min(4, carbon))
    counts = (("C", carbon), ("H", hydrogen), ("O", oxygen))
    return "".join(f"{element}{times if times > 1 else ''}" for element, times in counts if times)


def balanced(reactants: Sequence[str], products: Sequence[str]) -> list[int] | None:
    """The smallest whole coefficients, reactants first; None where there is not exactly one set."""
    signed = [(formula, 1) for formula in reactants] + [(formula, -1) for formula in products]
    counts = [composition(formula) for formula, _ in signed]
    elements = sorted({element for one in counts for element in one})
    rows = [
        [Fraction(sign * count[element]) for count, (_, sign) in zip(counts, signed, strict=True)]
        for element in elements
    ]
    pivots: list[int] = []
    for column in range(len(signed)):
        place = len(pivots)
        found = next((r for r in range(place, len(rows)) if rows[r][column]), None)
        if found is None:
            continue
        rows[place], rows[found] = rows[found], rows[place]
        rows[place] = [value / rows[place][column] for value in rows[place]]
        for other in range(len(rows)):
            if other != place and rows[other][column]:
                times = rows[other][column]
                pairs = zip(rows[other], rows[place], strict=True)
                rows[other] = [a - times * b for a, b in pairs]
        pivots.append(column)
    if pivots != list(range(len(signed) - 1)):
        return None
    solution = [-rows[place][-1] for place in range(len(pivots))] + [Fraction(1)]
    if min(solution) <= 0:
        return None
    scale = math.lcm(*(value.denominator for value in solution))
    whole = [int(value * scale) for value in solution]
    return [value // math.gcd(*whole) for value in whole]
