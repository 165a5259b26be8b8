"""The reader of units against sympy's unit system, and the grader of quantities."""

import time
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sympy import Rational
from sympy.physics import units as su
from sympy.physics.units import convert_to

from openk2.environments.verifiers.stem.quantities import (
    grade_quantity,
    number_text,
    quantity_text,
)
from openk2.environments.verifiers.stem.units import (
    BASE,
    PREFIXES,
    TABLE,
    NotUnit,
    read_base_unit,
    read_unit,
)

BASE_UNITS = (su.meter, su.kilogram, su.second, su.ampere, su.kelvin, su.mole, su.candela)
SYMPY = {
    "m": su.meter, "g": su.gram, "s": su.second, "A": su.ampere, "K": su.kelvin, "mol": su.mole,
    "cd": su.candela, "N": su.newton, "J": su.joule, "W": su.watt, "Pa": su.pascal, "Hz": su.hertz,
    "C": su.coulomb, "V": su.volt, "Ω": su.ohm, "S": su.siemens, "F": su.farad, "H": su.henry,
    "T": su.tesla, "Wb": su.weber, "L": su.liter, "bar": su.bar, "atm": su.atmosphere,
    "t": su.tonne, "min": su.minute, "h": su.hour, "d": su.day, "ha": su.hectare, "in": su.inch,
    "ft": su.foot, "mi": su.mile, "lb": su.pound, "eV": su.electronvolt,
}  # fmt: skip
SPEED = {"value": 20.0, "unit": "m/s", "tolerance": 0.01, "absolute": False, "in_unit": False}
IN_KM = SPEED | {"unit": "km/h", "in_unit": True}
WARM = {"value": 25.0, "unit": "°C", "tolerance": 0.005, "absolute": False, "in_unit": True}
SHARE = {"value": 45.3, "unit": "%", "tolerance": 0.01, "absolute": False, "in_unit": False}
ACID = {"value": 4.75, "unit": "", "tolerance": 0.02, "absolute": True, "in_unit": False}
TRUTHS = (SPEED, IN_KM, WARM, ACID, SHARE)


@pytest.mark.parametrize("symbol", sorted(SYMPY))
def test_factors_and_dimensions_are_sympys(symbol: str) -> None:
    unit = read_unit(symbol)
    base = convert_to(SYMPY[symbol], BASE_UNITS)
    for one, exponent in zip(BASE_UNITS, unit.dimension, strict=True):
        base = base / one**exponent
    factor = Rational(unit.factor.numerator, unit.factor.denominator)
    assert abs(float(base / factor) - 1) < 1e-7, (symbol, base)


def test_every_unit_is_checked_but_those_that_sympy_lacks() -> None:
    assert set(TABLE) - set(SYMPY) == {"M", "cal", "rad", "Wh", "Ah"}
    assert read_unit("cal").factor == Fraction("4.184")
    assert read_unit("M") == read_unit("mol/L")
    assert (read_unit("Wh"), read_unit("Ah")) == (read_unit("W h"), read_unit("A h"))


@given(st.sampled_from(sorted(PREFIXES)), st.sampled_from(["m", "Pa", "Ω", "mol", "Wb"]))
def test_prefixes_scale(prefix: str, symbol: str) -> None:
    if prefix + symbol not in TABLE:
        assert read_unit(prefix + symbol).factor == Fraction(10) ** PREFIXES[prefix]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("m/s^2", "m s^-2"),
        ("m/s/s", "m s⁻²"),
        ("m s-2", "m·s^{-2}"),
        ("J/(kg K)", "J kg^-1 K^-1"),
        ("N m", "kg m^2/s^2"),
        ("\\text{kg}\\cdot\\text{m}^2", "kg m2"),
        ("k\\Omega", "kΩ"),
        ("µm", "\\mu m"),
        ("meters per second", "m/s"),
        ("Newton metres", "J"),
        ("kilograms", "kg"),
        ("hours", "h"),
        ("((m))", "m"),
        ("\u212a", "K"),
        ("W m^{-2} K^{-4}", "W/(m^2 K^4)"),
        ("m^(2)", "m^2"),
        ("kWh", "kW h"),
        ("mAh", "mA h"),
        ("mM", "mmol/L"),
        ("mins", "min"),
        ("\\frac{\\text{m}}{\\text{s}^2}", "m/s^2"),
        ("kg\\,\\dfrac{m}{s}", "kg m/s"),
        ("\\mu\\text{F}", "µF"),
        ("\\text{k}\\Omega", "kΩ"),
        ("\\,^\\circ\\text{C}", "°C"),
        ("^{\\circ}\\mathrm{C}", "°C"),
        ("degrees Celsius", "°C"),
        ("\\text{m}\\text{s}^{-1}", "m/s"),
    ],
)
def test_spellings(text: str, same: str) -> None:
    assert read_unit(text) == read_unit(same)


@pytest.mark.parametrize(
    "text",
    [
        *("", "5 m", "m/", "/s", "m//s", "(m", "m)", "^2", "m^99", "m^0", "m^x", "m^2^2", "°C/m"),
        *("bananas", "m 5", "m/5", "2", "m+s", "m^1.5", "ｍ", "м", "m" * 101, "(" * 50, "m^9" * 20),
    ],
)
def test_what_is_no_unit(text: str) -> None:
    with pytest.raises(NotUnit):
        read_unit(text)


def test_base_units_alone() -> None:
    assert read_base_unit("kg m^2/s^3") == (2, 1, -3, 0, 0, 0, 0)
    for text in ("N m", "m m", "m/m s", "km", "g", "kg m^2 s^-2 m"):
        with pytest.raises(NotUnit):
            read_base_unit(text)
    assert len(BASE) == 7


RIGHT = [
    (
        SPEED,
        ("20 m/s", "20.19 m/s", "2.0e1 m s^-1", "72 km/h", "2 × 10^1 m/s", "$20\\ \\text{m/s}$"),
    ),
    (
        SPEED,
        ("2.0 \\times 10^{1} \\mathrm{m/s}", "2·10¹ m/s", "+20 m/s.", "0.02 km/s", "20 N s/kg"),
    ),
    (IN_KM, ("20 km/h", "20 km h^-1", "20.0 kilometres per hour")),
    (SPEED | {"value": 12345.0}, ("12,345 m/s", "12300 m/s")),
    (WARM, ("25 °C", "25°C", "25 ^\\circ C", "25.1 ℃")),
    (
        SPEED,
        ("v = 20 m/s", "v_0 = 20 m/s", "≈ 20 m/s", "\\(20\\,\\text{m/s}\\)"),
    ),
    (SPEED, ("2.0 x 10^1 m/s", "2.0x10^1 m/s", "2*10**1 m/s", "\\approx 20 \\frac{m}{s}")),
    (SPEED, ("`20 m/s`",)),
    (SHARE, ("45.3", "45.3 %", "45.3%", "45.3\\%", "45.3 percent")),
    (ACID, ("pH = 4.75",)),
    (ACID, ("4.75", "4.76", "4.73", "4,750e-3")),
]
WRONG = [
    (SPEED, ("20", "20 m", "20.3 m/s", "19.7 m/s", "-20 m/s", "20 km/h", "20-21 m/s", "4*5 m/s")),
    (
        SPEED,
        ("20 m/s or 30 m/s", "10 m/s + 10 m/s", "20 ± 5 m/s", "inf m/s", "nan m/s", "20,5 m/s"),
    ),
    (IN_KM, ("5.5556 m/s", "20000 m/h", "20 m/s", "20")),
    (WARM, ("298.15 K", "25", "77 °F", "25 K", "25 C")),
    (SPEED, ("v = w = 20 m/s", "= = 20 m/s", "20 x m/s", "20 = 20 m/s", "< 30 m/s", "v 20 m/s")),
    (SHARE, ("0.453", "45.3 % %", "45.3 m", "4530 %", "45.3 %m")),
    (ACID, ("4.75 %",)),
    (ACID, ("4.78", "4.75 mol/L", "4", "10^-4.75", "4.75 or 5")),
]


@pytest.mark.parametrize(
    ("truth", "answer"), [(truth, answer) for truth, answers in RIGHT for answer in answers]
)
def test_right_quantities_are_paid(truth: dict[str, Any], answer: str) -> None:
    score = grade_quantity(truth, f"Answer: {answer}")
    assert score.reward == 1 and set(score.parts.values()) == {1.0}, score


@pytest.mark.parametrize(
    ("truth", "answer"), [(truth, answer) for truth, answers in WRONG for answer in answers]
)
def test_wrong_quantities_are_not_paid(truth: dict[str, Any], answer: str) -> None:
    score = grade_quantity(truth, f"Answer: {answer}")
    assert score.reward == 0 and score.parts["correct"] == 0 and score.reason


@given(st.floats(1e-30, 1e30), st.sampled_from(("m/s", "kg m^2", "°C", "")))
def test_a_printed_quantity_is_its_own_answer(value: float, unit: str) -> None:
    truth = {"value": value, "unit": unit, "tolerance": 1e-5, "absolute": False, "in_unit": True}
    assert grade_quantity(truth, f"Answer: {quantity_text(value, unit)}").reward == 1


def test_every_wording_of_a_quantity_must_be_right() -> None:
    box = "\\boxed{20\\ \\text{m/s}}"
    for line, reward in (("20 m/s", 1), ("72 km/h", 1), ("20 km/h", 0), ("30 m/s", 0)):
        assert grade_quantity(SPEED, f"{box}\nAnswer: {line}").reward == reward


def test_numbers_are_printed_as_people_write_them() -> None:
    printed = [number_text(value) for value in (1.5e-9, 2e20, -3e-5, 0.25, 1500.0, 1e-10)]
    assert printed == ["1.5e-9", "2e20", "-3e-5", "0.25", "1500", "1e-10"]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TRUTHS), st.text(max_size=250), st.booleans())
@example(SPEED, "1e99 " + "Ym^9 " * 18, True)
@example(SPEED, "1e-99 ym^9/(Ym^9)", True)
@example(SPEED, "20 " + "(" * 150, True)
@example(SPEED, "20 " + "m/s" * 60, True)
@example(SPEED, "1,234" * 30, True)
@example(SPEED, "9" * 10**6, True)
@example(SPEED, "20 \ud800", True)
@example(ACID, "٤.٧٥", True)
@example(SPEED, "20 " + "\\frac{" * 30, True)
@example(SPEED, "20 " + "\\text{" * 30, True)
def test_every_text_gets_a_verdict_at_once(truth: dict[str, Any], text: str, marked: bool) -> None:
    start = time.perf_counter()
    score = grade_quantity(truth, f"Answer: {text}" if marked else text)
    assert score.valid and score.reward in (0, 1)
    assert time.perf_counter() - start < 1
