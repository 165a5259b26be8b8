"""Formulas of physics, grouped into scenes whose symbols mean the same thing in all of its laws.

A law is text: sums of products of numbers and powers of symbols on both sides of `=`, so that it
can be solved in closed form for every symbol that occurs in one term only. Constants are those of
CODATA 2018, rounded as the prompts state them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["ALTERNATIVES", "CONSTANTS", "SCENES", "Scene", "Term", "Variable", "solved", "terms"]

Term = tuple[float, Mapping[str, float]]  # coefficient, symbol -> power


@dataclass(frozen=True)
class Variable:
    """`phrase` as a noun; values are drawn from low to high, in `unit`."""

    phrase: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True)
class Scene:
    """What the text begins with, and the laws; a symbol is a variable or one of CONSTANTS."""

    openings: Sequence[str]
    variables: Mapping[str, Variable]
    laws: Sequence[str]


CONSTANTS: Mapping[str, tuple[float, str, str]] = {
    "g": (9.81, "m/s^2", "gravitational acceleration"),
    "G": (6.6743e-11, "N m^2/kg^2", "gravitational constant"),
    "R_gas": (8.314, "J/(mol K)", "gas constant"),
    "h_P": (6.626e-34, "J s", "Planck constant"),
    "c": (2.998e8, "m/s", "speed of light"),
    "k_C": (8.988e9, "N m^2/C^2", "Coulomb constant"),
    "eps_0": (8.854e-12, "F/m", "electric constant"),
    "sigma": (5.670e-8, "W m^-2 K^-4", "Stefan-Boltzmann constant"),
    "b_W": (2.898e-3, "m K", "Wien's constant"),
}
ALTERNATIVES: Mapping[str, Sequence[str]] = {
    "m/s": ("km/h",),
    "kg": ("g", "t"),
    "m": ("cm", "km", "mm"),
    "s": ("min", "ms"),
    "J": ("kJ",),
    "W": ("kW",),
    "Pa": ("kPa", "bar"),
    "N": ("kN",),
    "A": ("mA",),
    "V": ("mV", "kV"),
    "Ω": ("kΩ",),
    "C": ("µC", "nC"),
    "F": ("µF", "nF"),
    "m^2": ("cm^2", "mm^2"),
    "m^3": ("L", "cm^3"),
    "Hz": ("kHz", "MHz"),
}


def _scene(openings: Sequence[str], variables: str, laws: str) -> Scene:
    """`variables`: a line each, "symbol | phrase | unit | low | high"; `laws`: a line each."""
    found = {}
    for line in variables.strip().splitlines():
        symbol, phrase, unit, low, high = (cell.strip() for cell in line.split("|"))
        found[symbol] = Variable(phrase, unit, float(low), float(high))
    return Scene(openings, found, tuple(line.strip() for line in laws.strip().splitlines()))


SCENES: Sequence[Scene] = (
    _scene(
        ("A body moves along a straight line under a constant force.", "A cart speeds up evenly."),
        """u | initial speed | m/s | 1 | 20
        v | final speed | m/s | 21 | 60
        a | acceleration | m/s^2 | 0.3 | 8
        t | time taken | s | 2 | 60
        s | distance covered | m | 20 | 2000
        m | mass | kg | 0.5 | 2000
        F | net force | N | 1 | 9000
        p | final momentum | kg m/s | 10 | 90000
        K | final kinetic energy | J | 100 | 3000000
        J | impulse of the force | N s | 10 | 90000
        W | work done by the force | J | 100 | 3000000""",
        """v = u + a t
        s = u t + 0.5 a t^2
        s = 0.5 u t + 0.5 v t
        v^2 = u^2 + 2 a s
        F = m a
        p = m v
        K = 0.5 m v^2
        J = F t
        W = F s""",
    ),
    _scene(
        ("A stone is dropped from rest; air resistance is ignored.", "An object falls freely."),
        """h | height of the fall | m | 1 | 300
        v | speed at the bottom | m/s | 3 | 80
        t | duration of the fall | s | 0.4 | 8
        m | mass | kg | 0.1 | 90
        w | weight | N | 1 | 900
        U | potential energy at the top, measured from the bottom | J | 5 | 90000
        p | momentum at the bottom | kg m/s | 1 | 5000""",
        """v^2 = 2 g h
        h = 0.5 g t^2
        v = g t
        w = m g
        U = m g h
        U = 0.5 m v^2
        p = m v""",
    ),
    _scene(
        ("A body moves on a circle at constant speed.", "A ball on a string circles steadily."),
        """v | speed | m/s | 0.5 | 50
        r | radius | m | 0.1 | 100
        T | period | s | 0.1 | 60
        f | frequency | Hz | 0.02 | 10
        z | centripetal acceleration | m/s^2 | 0.5 | 200
        m | mass | kg | 0.1 | 500
        F | centripetal force | N | 0.5 | 20000
        L | angular momentum | J s | 0.1 | 50000""",
        """v = 6.283185307 r T^-1
        f = T^-1
        z = v^2 r^-1
        F = m z
        L = m v r""",
    ),
    _scene(
        ("A block oscillates on an ideal spring.", "A mass hangs on a light spring and swings."),
        """k | spring constant | N/m | 5 | 2000
        x | amplitude | m | 0.01 | 0.5
        m | mass | kg | 0.05 | 20
        F | largest spring force | N | 0.2 | 500
        E | energy of the oscillation | J | 0.01 | 100
        T | period | s | 0.05 | 5
        f | frequency | Hz | 0.2 | 20
        v | largest speed | m/s | 0.05 | 10""",
        """F = k x
        E = 0.5 k x^2
        T = 6.283185307 m^0.5 k^-0.5
        f = T^-1
        E = 0.5 m v^2
        v = 6.283185307 x T^-1""",
    ),
    _scene(
        ("A simple pendulum swings with a small amplitude.",),
        """l | length of the pendulum | m | 0.1 | 30
        T | period | s | 0.6 | 11
        f | frequency | Hz | 0.09 | 1.7
        t | duration of all swings | s | 5 | 900
        N | number of swings |  | 5 | 90""",
        """T = 6.283185307 l^0.5 g^-0.5
        f = T^-1
        t = N T""",
    ),
    _scene(
        ("A metal wire is connected to a battery.", "A current flows through a wire."),
        """V | voltage | V | 1 | 240
        I | current | A | 0.05 | 20
        R | resistance | Ω | 0.5 | 900
        P | electric power | W | 0.5 | 4000
        t | time | s | 10 | 4000
        q | charge that has passed | C | 5 | 50000
        E | energy turned into heat | J | 50 | 9000000
        d | resistivity | Ω m | 1e-8 | 2e-6
        l | length of the wire | m | 1 | 900
        A | cross section of the wire | m^2 | 1e-8 | 1e-5""",
        """V = I R
        P = V I
        P = I^2 R
        P = V^2 R^-1
        q = I t
        E = P t
        R = d l A^-1""",
    ),
    _scene(
        ("Two resistors are connected in parallel to a battery.",),
        """A | first resistance | Ω | 2 | 300
        B | second resistance | Ω | 2 | 300
        R | total resistance | Ω | 1 | 150
        V | voltage of the battery | V | 1 | 240
        I | total current | A | 0.02 | 50
        i | current through the first resistor | A | 0.02 | 50
        P | total power | W | 0.1 | 5000""",
        """R^-1 = A^-1 + B^-1
        V = I R
        V = i A
        P = V I
        P = V^2 R^-1""",
    ),
    _scene(
        ("A parallel-plate capacitor in air is charged.",),
        """C | capacitance | F | 1e-12 | 1e-8
        q | charge | C | 1e-10 | 1e-5
        V | voltage | V | 5 | 2000
        E | stored energy | J | 1e-9 | 1e-3
        A | area of a plate | m^2 | 0.001 | 2
        d | distance of the plates | m | 1e-4 | 0.02
        f | electric field strength | V/m | 500 | 2000000""",
        """q = C V
        E = 0.5 C V^2
        E = 0.5 q V
        C = eps_0 A d^-1
        f = V d^-1""",
    ),
    _scene(
        ("A sound wave travels through a medium.", "A wave runs along a rope."),
        """v | speed of the wave | m/s | 1 | 5000
        f | frequency | Hz | 1 | 20000
        l | wavelength | m | 0.01 | 50
        T | period | s | 5e-5 | 1
        s | distance covered | m | 10 | 9000
        t | travel time | s | 0.01 | 60""",
        """v = f l
        T = f^-1
        s = v t""",
    ),
    _scene(
        ("A photon is emitted by an atom.", "A laser emits light of one colour in vacuum."),
        """E | energy of a photon | J | 1e-20 | 1e-17
        f | frequency | Hz | 2e13 | 1e16
        l | wavelength | m | 2e-8 | 1e-5
        p | momentum of a photon | kg m/s | 1e-28 | 1e-25
        N | number of photons |  | 1e9 | 1e20
        W | energy of all photons | J | 1e-9 | 100""",
        """E = h_P f
        c = f l
        p = h_P l^-1
        W = N E""",
    ),
    _scene(
        ("A thin converging lens forms a real image.",),
        """f | focal length | m | 0.02 | 0.5
        o | distance of the object from the lens | m | 0.6 | 9
        i | distance of the image from the lens | m | 0.02 | 3
        h | height of the object | m | 0.01 | 3
        H | height of the image | m | 0.0005 | 2
        D | refractive power of the lens | m^-1 | 2 | 50""",
        """f^-1 = o^-1 + i^-1
        D = f^-1
        H = h i o^-1""",
    ),
    _scene(
        ("A sample is heated without losses.", "An electric heater warms a liquid."),
        """Q | heat taken up | J | 100 | 5000000
        m | mass | kg | 0.05 | 50
        C | specific heat capacity | J/(kg K) | 120 | 4200
        D | rise of the temperature | K | 2 | 90
        P | heating power | W | 20 | 5000
        t | heating time | s | 10 | 7200""",
        """Q = m C D
        P = Q t^-1""",
    ),
    _scene(
        ("An ideal monatomic gas is kept in a vessel.", "A cylinder holds an ideal gas of atoms."),
        """p | pressure | Pa | 20000 | 5000000
        V | volume | m^3 | 0.0005 | 2
        n | amount of gas | mol | 0.05 | 100
        T | absolute temperature | K | 150 | 900
        U | internal energy | J | 100 | 500000
        m | mass of the gas | kg | 0.001 | 5
        M | molar mass | kg/mol | 0.004 | 0.14
        d | density | kg/m^3 | 0.1 | 50""",
        """p V = n R_gas T
        U = 1.5 n R_gas T
        U = 1.5 p V
        m = n M
        d = m V^-1
        p M = d R_gas T""",
    ),
    _scene(
        ("A probe circles a planet close to its surface.", "A moon moves on a circular orbit."),
        """M | mass of the central body | kg | 1e22 | 1e27
        r | radius of the orbit | m | 2e6 | 1e9
        m | mass of the orbiting body | kg | 100 | 90000
        F | gravitational force | N | 1 | 900000
        z | gravitational acceleration at the orbit | m/s^2 | 0.01 | 40
        v | orbital speed | m/s | 300 | 40000
        T | orbital period | s | 4000 | 900000
        K | kinetic energy in the orbit | J | 1e7 | 1e13""",
        """F = G M m r^-2
        z = G M r^-2
        F = m z
        v^2 = G M r^-1
        z = v^2 r^-1
        v = 6.283185307 r T^-1
        K = 0.5 m v^2""",
    ),
    _scene(
        ("A liquid rests in an open tank; pressures are above that of the air.",),
        """d | density of the liquid | kg/m^3 | 600 | 13600
        h | depth | m | 0.1 | 90
        p | pressure at that depth | Pa | 900 | 5000000
        A | area of a hatch at that depth | m^2 | 0.005 | 4
        F | force of the liquid on the hatch | N | 10 | 5000000
        m | mass of all the liquid | kg | 10 | 900000
        V | volume of all the liquid | m^3 | 0.01 | 900""",
        """p = d g h
        F = p A
        d = m V^-1""",
    ),
    _scene(
        ("Two small charged spheres are at rest in vacuum.",),
        """q | charge of the first sphere | C | 1e-9 | 1e-5
        Q | charge of the second sphere | C | 1e-9 | 1e-5
        r | distance between the spheres | m | 0.02 | 5
        F | size of the force between them | N | 1e-6 | 50
        E | field strength of the second sphere at the first | V/m | 100 | 1e7
        m | mass of the first sphere | kg | 1e-4 | 0.5
        a | acceleration of the first sphere when it is released | m/s^2 | 1e-4 | 900""",
        """F = k_C q Q r^-2
        E = k_C Q r^-2
        F = q E
        F = m a""",
    ),
    _scene(
        ("A straight rod slides at a right angle through a uniform magnetic field.",),
        """B | magnetic flux density | T | 0.01 | 5
        l | length of the rod | m | 0.05 | 3
        v | speed of the rod | m/s | 0.2 | 40
        V | induced voltage | V | 0.001 | 50
        R | resistance of the circuit | Ω | 0.05 | 50
        I | induced current | A | 0.001 | 100
        F | magnetic force on the rod | N | 1e-5 | 100""",
        """V = B l v
        V = I R
        F = B I l""",
    ),
    _scene(
        ("A star shines like a black body.", "A hot sphere radiates like a black body."),
        """T | surface temperature | K | 900 | 30000
        A | surface area | m^2 | 0.01 | 1e20
        r | radius | m | 0.03 | 3e9
        P | radiated power | W | 500 | 1e30
        l | wavelength of the strongest emission | m | 9e-8 | 3e-6""",
        """P = sigma A T^4
        A = 12.566370614 r^2
        b_W = l T""",
    ),
    _scene(
        ("A metal rod is warmed evenly.",),
        """l | original length | m | 0.2 | 90
        D | rise of the temperature | K | 5 | 200
        a | coefficient of linear expansion | K^-1 | 1e-6 | 3e-5
        d | increase of the length | m | 1e-5 | 0.2
        e | relative increase of the length |  | 1e-5 | 0.005""",
        """d = a l D
        d = e l""",
    ),
)


@lru_cache(1024)
def terms(law: str) -> tuple[Term, ...]:
    """The law as terms whose sum is 0."""
    found: list[Term] = []
    for side, sign in zip(law.split(" = "), (1.0, -1.0), strict=True):
        for term in side.split(" + "):
            coefficient, powers = sign, dict[str, float]()
            for factor in term.split():
                symbol, _, power = factor.partition("^")
                if symbol[0].isdigit():
                    coefficient *= float(symbol)
                else:
                    powers[symbol] = float(power or 1)
            found.append((coefficient, powers))
    return tuple(found)


def solved(law: str, symbol: str, values: Mapping[str, float]) -> float | None:
    """The positive value of a symbol, all others given.

    None where there is no such value or the symbol stands in more than one term.
    """
    own, rest, power = 0.0, 0.0, 0.0
    for coefficient, powers in terms(law):
        others = (values[one] ** exponent for one, exponent in powers.items() if one != symbol)
        product = coefficient * math.prod(others)
        if symbol not in powers:
            rest += product
        elif power:
            return None
        else:
            own, power = product, powers[symbol]
    ratio = -rest / own
    return ratio ** (1 / power) if ratio > 0 else None
