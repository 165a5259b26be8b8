"""Bugs of known kinds, put into a function's syntax tree, one at a time.

A mutated function may loop for ever: `guarded` bounds the rounds of its while loops. That is all it
takes, as the functions of this package do not recurse and loop over finite things otherwise. A bug
may sit in what a function hands to another one, so the functions that it calls are bounded too.
"""

import ast
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["KINDS_OF_BUGS", "Runaway", "bug_sites", "guarded", "mutated"]

ROUNDS = 3000

COMPARISONS: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
OPPOSITES: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Lt: ast.Gt,
    ast.Gt: ast.Lt,
}
OPERATORS: Mapping[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mod,
    ast.Mod: ast.FloorDiv,
}
NAMES: Mapping[str, str] = {"min": "max", "max": "min", "any": "all", "all": "any"}


class Runaway(Exception):
    """A loop of a mutated function went on for too many rounds."""


def _boundary(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        node.ops = [COMPARISONS[type(node.ops[0])](), *node.ops[1:]]
        return True
    return False


def _opposite(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPPOSITES:
        node.ops = [OPPOSITES[type(node.ops[0])](), *node.ops[1:]]
        return True
    return False


def _operator(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATORS:
        node.op = OPERATORS[type(node.op)]()
        return True
    return False


def _off_by_one(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        node.value += 1
        return True
    return False


def _one_less(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value > 0:
        node.value -= 1
        return True
    return False


def _connective(node: ast.AST) -> bool:
    if isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return True
    return False


def _wrong_function(node: ast.AST) -> bool:
    if isinstance(node, ast.Name) and node.id in NAMES:
        node.id = NAMES[node.id]
        return True
    return False


def _swapped_arguments(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and len(node.args) == 2:
        node.args = node.args[::-1]
        return True
    return False


def _negated_condition(node: ast.AST) -> bool:
    if isinstance(node, ast.If | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return True
    return False


def _lost_update(node: ast.AST) -> bool:
    if isinstance(node, ast.For | ast.While | ast.If) and len(node.body) > 1:
        node.body = node.body[:-1]
        return True
    return False


def _lost_order(node: ast.AST) -> bool:
    if isinstance(node, ast.Name) and node.id == "sorted":
        node.id = "list"
        return True
    return False


# Each changes a node that it fits, but nothing below it, and says whether it did.
KINDS_OF_BUGS: Mapping[str, Callable[[ast.AST], bool]] = {
    "boundary of a comparison": _boundary,
    "opposite comparison": _opposite,
    "wrong operator": _operator,
    "number too great by one": _off_by_one,
    "number too small by one": _one_less,
    "and for or": _connective,
    "wrong function": _wrong_function,
    "arguments swapped": _swapped_arguments,
    "condition negated": _negated_condition,
    "statement lost": _lost_update,
    "sorting lost": _lost_order,
}


def _nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of the body, in a fixed order; the signature is left alone."""
    for statement in function.body:
        yield from ast.walk(statement)


def bug_sites(function: ast.FunctionDef) -> list[tuple[str, int]]:
    """Every bug that can be put in: its kind and the number of the node."""
    nodes = list(_nodes(function))
    return [
        (kind, number)
        for kind, change in KINDS_OF_BUGS.items()
        for number, node in enumerate(nodes)
        if change(copy.copy(node))
    ]


def mutated(function: ast.FunctionDef, kind: str, number: int) -> ast.FunctionDef:
    """A copy with the bug of `bug_sites` in it."""
    tree = copy.deepcopy(function)
    fits = KINDS_OF_BUGS[kind](list(_nodes(tree))[number])
    assert fits, f"no bug {kind!r} at node {number}"
    return ast.fix_missing_locations(tree)


class _Guard(ast.NodeTransformer):
    def visit_While(self, node: ast.While) -> ast.While:
        self.generic_visit(node)
        tick = ast.Call(ast.Name("count_round", ast.Load()), [], [])
        node.test = ast.BoolOp(ast.And(), [tick, node.test])
        return node


def guarded(name: str, trees: Mapping[str, ast.FunctionDef], preamble: str) -> Callable[..., Any]:
    """The function `name` of `trees`, below `preamble`; it raises Runaway in an endless loop."""
    rounds = 0

    def count_round() -> bool:
        nonlocal rounds
        rounds += 1
        if rounds > ROUNDS:
            raise Runaway
        return True

    mentioned = {node.id for node in ast.walk(trees[name]) if isinstance(node, ast.Name)}
    used = [tree for one, tree in trees.items() if one in mentioned or one == name]
    module = ast.parse(preamble)
    module.body.extend(_Guard().visit(copy.deepcopy(tree)) for tree in used)
    space: dict[str, Any] = {"count_round": count_round}
    exec(compile(ast.fix_missing_locations(module), "<mutated>", "exec"), space)

    def call(*arguments: Any, **parameters: Any) -> Any:
        nonlocal rounds
        rounds = 0
        return space[name](*arguments, **parameters)

    return call
