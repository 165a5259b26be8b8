"""The truths of the maths generators, worked out again from the prompt or the identity."""

import cmath
import itertools
import math
import re
from ast import literal_eval
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import sympy

from openk2.environments.base import Problem, VerifiableEnvironment, seeded_random
from openk2.environments.registry import VerifiableEnvironments
from openk2.environments.verifiers.maths.expressions import evaluate, plain_text, read
from openk2.environments.verifiers.maths.grading import grade_answer


def _environment(name: str) -> VerifiableEnvironment:
    environment = VerifiableEnvironments()[name]
    assert isinstance(environment, VerifiableEnvironment)
    return environment


def _problems(name: str, count: int, difficulty: float | None = None) -> list[Problem]:
    environment = _environment(name)
    found = []
    for index in range(count):
        rng = seeded_random("oracle", name, index)
        found.append(environment.generate(rng, rng.random() if difficulty is None else difficulty))
    return found


def _fraction(problem: Problem) -> Fraction:
    value = evaluate(read(plain_text(problem.truth["answer"]))).as_rational()
    assert value is not None
    return value


def _numbers(text: str) -> list[int]:
    return list(map(int, re.findall(r"-?[0-9]+", text)))


def test_arithmetic_prompts_evaluate_to_their_truths() -> None:
    checked = 0
    for problem in _problems("maths.arithmetic", 400):
        line = problem.prompt.splitlines()[0]
        found = re.search(
            r"(?:Compute|is|expression|value of|Divide:) ([-0-9.(][-0-9.()+×÷/ ]*)", line
        )
        if "increased" in line or "decreased" in line or found is None:
            continue
        text = found[1].rstrip(". ,").replace("×", "*").replace("÷", "/")
        value = eval(
            re.sub(r"[0-9]+(?:\.[0-9]+)?", r"Fraction('\g<0>')", text), {"Fraction": Fraction}
        )
        if problem.truth["kind"] == "decimal":
            places = problem.truth["places"]
            assert abs(value - Fraction(problem.truth["answer"])) * 10**places < Fraction(1, 2)
        else:
            assert value == _fraction(problem), problem
        checked += 1
    assert checked > 250


def test_percentages() -> None:
    problems = [
        p for p in _problems("maths.arithmetic", 300) if p.identity.startswith("percentage")
    ]
    for problem in problems:
        line = problem.prompt.splitlines()[0]
        value = Fraction(_numbers(line)[0])
        for direction, percent in re.findall(r"(in|de)creased by ([0-9]+)%", line):
            value *= 1 + Fraction(int(percent), 100) * (1 if direction == "in" else -1)
        assert value == _fraction(problem)
    assert len(problems) > 20


def _python(text: str) -> str:
    """An equation's side as Python over x: `2x` is `2*x`, `3(x` is `3*(x`."""
    return re.sub(r"(?<=[0-9x)])(?=[x(]|sqrt|pi)", "*", text.replace("^", "**"))


def _check_equation(problem: Problem) -> None:
    line = problem.prompt.splitlines()[0]
    found = re.search(r"((?:-?[0-9(x])[-0-9x^()+ ]*) = (-?[0-9x][-0-9x^()+ ]*)", line)
    assert found is not None, line
    x = sympy.Symbol("x")
    sides = [sympy.sympify(_python(side), locals={"x": x}) for side in found.groups()]
    wanted = {sympy.nsimplify(root) for root in sympy.solve(sides[0] - sides[1], x)}
    answers = problem.truth.get("answers", [problem.truth.get("answer")])
    assert {sympy.sympify(_python(answer), rational=True) for answer in answers} == wanted, problem


def _check_system(problem: Problem) -> None:
    values = dict(zip(problem.truth["names"], map(int, problem.truth["answers"]), strict=True))
    lines = [
        line
        for line in problem.prompt.splitlines()
        if re.fullmatch(r"[-0-9xyz+ ]+= -?[0-9]+", line)
    ]
    assert len(lines) == len(values)
    for line in lines:
        left, right = line.split(" = ")
        left = re.sub(r"(?<=[0-9])(?=[xyz])", "*", left)
        assert eval(left, {}, values) == int(right), line


def _check_inequality(problem: Problem) -> None:
    text = problem.identity.removeprefix("inequality ")
    answer = problem.truth["answer"]
    low, high = (
        sympy.sympify(end.replace("infinity", "oo"), rational=True)
        for end in answer[1:-1].split(", ")
    )
    wanted = sympy.Interval(low, high, answer[0] == "(", answer[-1] == ")")
    x = sympy.Symbol("x", real=True)
    relation = sympy.sympify(_python(text), locals={"x": x})
    assert relation.as_set() == wanted, problem


def _check_expansion(problem: Problem) -> None:
    line = problem.prompt.splitlines()[0]
    shown = max(re.findall(r"(?:\([-0-9x^+ ]+\))+", line), key=len)
    x = sympy.Symbol("x")
    difference = sympy.sympify(_python(shown)) - sympy.sympify(_python(problem.truth["answer"]))
    assert sympy.expand(difference, x) == 0, problem


def _check_factors(problem: Problem) -> None:
    shown = problem.identity.removeprefix("factor ")
    constant, factors = sympy.factor_list(sympy.sympify(_python(shown)))
    expected = "*".join([f"({constant})", *(f"({factor})**{power}" for factor, power in factors)])
    text = expected.replace("**", "^").replace(" ", "")
    assert grade_answer(problem.truth, f"Answer: {text}").reward == 1, (problem, text)


def _check_sequence(problem: Problem) -> None:
    *start, n = _numbers(problem.identity)
    if len(start) == 3:
        values = [start[0]]
        while len(values) < n:
            values.append(start[1] * values[-1] + start[2])
    else:
        values = start[:2]
        while len(values) < n:
            values.append(start[2] * values[-1] + start[3] * values[-2] + start[4])
    assert values[n - 1] == _fraction(problem)
    assert f"a_{n}" in problem.prompt


def _check_series(problem: Problem) -> None:
    text = problem.identity
    if "arithmetic" in text:
        n, first, second = _numbers(text)
        assert sum(first + k * (second - first) for k in range(n)) == _fraction(problem)
        return
    first, ratio = re.findall(r"-?[0-9]+(?:/[0-9]+)?", text)
    total = sum(Fraction(first) * Fraction(ratio) ** k for k in range(60))
    left_over = abs(Fraction(ratio)) ** 60 * abs(Fraction(first)) * 1000
    assert abs(total - _fraction(problem)) <= left_over


def _check_congruence(problem: Problem) -> None:
    a, b, modulus = _numbers(problem.identity)
    x = int(problem.truth["answer"])
    assert 0 <= x < modulus and (a * x - b) % modulus == 0


def _check_divisors(problem: Problem) -> None:
    numbers = literal_eval(problem.identity.partition("[")[1] + problem.identity.partition("[")[2])
    oracle = sympy.igcd if problem.identity.startswith("greatest") else sympy.ilcm
    assert oracle(*numbers) == _fraction(problem)


ALGEBRA: dict[str, Callable[[Problem], None]] = {
    "linear": _check_equation,
    "quadratic": _check_equation,
    "system": _check_system,
    "inequality": _check_inequality,
    "expand": _check_expansion,
    "factor": _check_factors,
    "recurrence": _check_sequence,
    "series": _check_series,
    "congruence": _check_congruence,
    "greatest": _check_divisors,
    "least": _check_divisors,
}


def test_algebra_truths_are_sympys() -> None:
    kinds = Counter(problem.identity.split()[0] for problem in _problems("maths.algebra", 250))
    assert set(kinds) == set(ALGEBRA)
    for problem in _problems("maths.algebra", 250):
        ALGEBRA[problem.identity.split()[0]](problem)


def _count_divisors(n: int, multiple: int) -> int:
    return sum(1 for d in sympy.divisors(n) if d % multiple == 0)


def _zeros(n: int, base: int) -> int:
    value, count = math.factorial(n), 0
    while value % base == 0:
        value, count = value // base, count + 1
    return count


def _least_number(remainder_of: int, moduli: list[int]) -> int:
    return next(n for n in itertools.count(1) if all(n % m == remainder_of % m for m in moduli))


def _paths(width: int, height: int, blocked: list[tuple[int, int]]) -> int:
    total = 0
    for rights in itertools.combinations(range(width + height), width):
        x = y = 0
        for step in range(width + height):
            x, y = (x + 1, y) if step in rights else (x, y + 1)
            if (x, y) in blocked:
                break
        else:
            total += 1
    return total


def _solutions(total: int, least: list[int]) -> int:
    if len(least) == 1:
        return int(total >= least[0])
    first, *rest = least
    return sum(_solutions(total - value, rest) for value in range(first, total - sum(rest) + 1))


def _words(letters: str, apart: str) -> int:
    return sum(1 for word in set(itertools.permutations(letters)) if apart * 2 not in "".join(word))


def _urn(red: int, blue: int, drawn: int, wanted: int) -> Fraction:
    """Over all orders of drawing, one ball after the other."""
    chance = Fraction(0)
    for order in set(itertools.permutations("r" * wanted + "b" * (drawn - wanted))):
        left, one = {"r": red, "b": blue}, Fraction(1)
        for ball in order:
            one *= Fraction(left[ball], sum(left.values()))
            left[ball] -= 1
        chance += one
    return chance


def _power_sum(b: Fraction, c: Fraction, power: int) -> float:
    root = cmath.sqrt(float(b * b - 4 * c))
    return sum(((-float(b) + sign * root) / 2) ** power for sign in (1, -1)).real


def _number(text: str) -> float:
    return float(sympy.sympify(_python(text)))


def _check_competition(problem: Problem) -> None:
    kind, _, rest = problem.identity.partition(" ")
    answer = problem.truth["answer"]
    values = re.findall(r"\[.*?\]|\S+", rest)
    match kind:
        case "power":
            assert int(answer) == math.prod([int(values[0])] * int(values[1])) % int(values[2])
        case "divisors":
            assert int(answer) == _count_divisors(int(values[0]), int(values[1]))
        case "zeros":
            assert int(answer) == _zeros(int(values[0]), int(values[1]))
        case "remainders":
            assert int(answer) == _least_number(int(values[0]), literal_eval(values[1]))
        case "multiples":
            limit, a, b, c = map(int, values)
            count = sum(1 for n in range(1, limit + 1) if (n % a == 0 or n % b == 0) and n % c)
            assert int(answer) == count
        case "paths":
            assert int(answer) == _paths(int(values[0]), int(values[1]), literal_eval(values[2]))
        case "stars":
            assert int(answer) == _solutions(int(values[0]), literal_eval(values[1]))
        case "arrangements":
            assert int(answer) == _words(values[0], values[1])
        case "urn":
            assert Fraction(answer) == _urn(*map(int, values))
        case "vieta":
            b, c = map(Fraction, values[:2])
            assert math.isclose(Fraction(answer), _power_sum(b, c, int(values[2])), abs_tol=1e-6)
        case "polygon":
            area = abs(sympy.Polygon(*literal_eval(values[0])).area)
            assert area == sympy.Rational(answer)
        case "heron":
            triangle = sympy.Triangle(sss=tuple(map(int, values[:3])))
            oracle = triangle.inradius if values[3] == "True" else triangle.area
            assert math.isclose(_number(answer), float(oracle), rel_tol=1e-9)
        case "sector":
            inner, outer, angle = map(int, values)
            area = math.pi * (outer**2 - inner**2) * angle / 360
            assert math.isclose(_number(answer), area)
        case _:
            raise AssertionError(problem)


def test_competition_truths_by_brute_force() -> None:
    kinds = set()
    for problem in _problems("maths.competition", 150, difficulty=0.15):
        kinds.add(problem.identity.split()[0])
        _check_competition(problem)
    assert len(kinds) == 13


def _check_word_problem(problem: Problem) -> None:
    kind, _, rest = problem.identity.partition(" ")
    value = _fraction(problem)
    match kind:
        case "story":
            start, steps, price = re.fullmatch(r"(\d+) (\[.*\]) (\d+)", rest).groups()  # type: ignore[union-attr]
            count = Fraction(int(start))
            for step, a, b in literal_eval(steps):
                count = {
                    "gain": lambda c, a, b: c + a,
                    "lose": lambda c, a, b: c - a,
                    "packed": lambda c, a, b: c + a * b,
                    "give": lambda c, a, b: c * (1 - Fraction(a, b)),
                    "multiply": lambda c, a, b: c * a,
                    "split": lambda c, a, b: c / a,
                    "percent": lambda c, a, b: c * (100 - a) / 100,
                }[step](count, a, b)
                assert count.denominator == 1 and count > 0
            assert value == count * (int(price) or 1)
        case "work":
            first, others, late = re.fullmatch(r"(\d+) (\[.*\]) (\d+)", rest).groups()  # type: ignore[union-attr]
            done = (value - int(late)) / int(first)
            assert done + sum(value / hours for hours in literal_eval(others)) == 1
        case "mixture":
            parts, water = re.fullmatch(r"(\[.*\]) (\d+)", rest).groups()  # type: ignore[union-attr]
            litres = sum(a for a, _ in literal_eval(parts)) + int(water)
            assert value * litres == sum(a * percent for a, percent in literal_eval(parts))
        case "ages":
            older, younger, shift = _numbers(rest)[:3]
            ratio = _numbers(re.search(r"(\d+) times as old", problem.prompt)[0])[0]  # type: ignore[index]
            assert older + shift == ratio * (younger + shift)
            assert value == older + _numbers(rest)[-1]
        case "meeting":
            slow, fast, lead, distance = _numbers(rest)
            first, second = slow * value, fast * (value - lead)
            assert first + second == distance if distance else first == second
            assert value > lead
        case "purchase":
            a, b, c, d, x, y, e, f = _numbers(rest)
            assert f"cost {a * x + b * y} cents" in problem.prompt
            assert f"cost {c * x + d * y} cents" in problem.prompt
            assert a * d != b * c and value == e * x + f * y
        case "average":
            count, added, before, after = _numbers(rest)
            assert before * count + value * added == after * (count + added)
        case _:
            raise AssertionError(problem)


def test_word_problem_truths() -> None:
    kinds = set()
    for problem in _problems("maths.word_problems", 300):
        kinds.add(problem.identity.split()[0])
        _check_word_problem(problem)
    assert len(kinds) == 7
