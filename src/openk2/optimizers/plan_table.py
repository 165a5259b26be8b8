"""The plan as a table for people."""

from collections import defaultdict
from collections.abc import Iterable
from math import prod

from openk2.optimizers.param_plan import ParameterRule

__all__ = ["format_plan"]

_HEADER = (
    "rule",
    "parameters",
    "shape",
    "matrices",
    "lr scale",
    "FLOPs",
    "owner",
    "reason",
    "first",
)


def format_plan(plan: Iterable[ParameterRule]) -> str:
    """The plan as an aligned table: one line for all parameters that are treated alike.

    "matrices" are those of one parameter, "FLOPs" those of a step's Newton-Schulz over all
    parameters of the line, "owner" the processes that run it.
    """
    groups: dict[tuple[object, ...], list[ParameterRule]] = defaultdict(list)
    for planned in plan:
        key = (planned.rule, planned.shape, planned.row_sizes, planned.reason)
        groups[*key, planned.learning_rate_scale].append(planned)
    lines = [_HEADER]
    elements = {"muon": 0, "adamw": 0}
    flops = 0.0
    for members in groups.values():
        first = members[0]
        elements[first.rule] += len(members) * prod(first.shape)
        line_flops = sum(planned.flops for planned in members)
        flops += line_flops
        views = [f"{n} x [{rows}, {columns}]" for n, rows, columns in first.matrix_views]
        owners = list(dict.fromkeys(planned.owner for planned in members))
        lines.append(
            (
                first.rule,
                str(len(members)),
                str(list(first.shape)),
                " + ".join(views) or "-",
                f"{first.learning_rate_scale:.3g}",
                f"{line_flops:.2g}" if line_flops else "-",
                owners[0] if len(owners) == 1 else f"{len(owners)} owners",
                first.reason,
                first.name,
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    totals = ", ".join(f"{rule} {count:,} elements" for rule, count in elements.items())
    return "\n".join([*table, f"{totals}; Newton-Schulz {flops:.3g} FLOPs a step"])
