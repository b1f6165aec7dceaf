"""From a plan to who belongs to whom."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from training.transport.plan import Plan
from vireid.errors import TrainingError

Rule = Literal["row", "column", "bidirectional", "components"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which rows and columns were joined.

    Args:
        rows: the column each row chose, (N,); -1 where the rule lets rows choose none.
        columns: the row each column chose, (K,); -1 where it chose none.
        pairs: rows and columns that were joined, each pair once, by row, then by column, (M, 2).
        row_groups: of the rule "components", the number of each row's group, (N,); otherwise empty.
        column_groups: the same of the columns, (K,).
    """

    rows: Tensor
    columns: Tensor
    pairs: Tensor
    row_groups: Tensor
    column_groups: Tensor


def assign(plan: Plan, rule: Rule = "row") -> Assignment:
    """Make hard choices of a plan; the lower index wins a tie.

    Args:
        plan: of N rows and K columns.
        rule: "row": each row takes the column it sends most to. "column": each column takes the row it receives
            most from. "bidirectional": rows choose, then columns that were left empty choose their own row.
            "components": as bidirectional, and what hangs together is a group; groups are numbered by their
            first row.

    Raises:
        TrainingError: an unknown rule.
    """
    if rule not in get_args(Rule):
        raise TrainingError(f"the rule is {rule!r}; expected one of {', '.join(get_args(Rule))}")
    by_row, by_column = _choices(plan)
    nobody = torch.full_like(by_row, -1), torch.full_like(by_column, -1)
    every = tuple(torch.arange(length, device=by_row.device) for length in plan.problem.shape)
    if rule == "row":
        rows, columns = by_row, nobody[1]
    elif rule == "column":
        rows, columns = nobody[0], by_column
    else:
        taken = torch.zeros_like(by_column, dtype=torch.bool)
        taken[by_row] = True
        rows, columns = by_row, torch.where(taken, nobody[1], by_column)
    chose = rows >= 0, columns >= 0
    senders = torch.cat([every[0][chose[0]], columns[chose[1]]])
    receivers = torch.cat([rows[chose[0]], every[1][chose[1]]])
    order = (senders * plan.problem.shape[1] + receivers).argsort()
    pairs = torch.stack([senders, receivers], 1)[order]
    groups = _groups(pairs, plan.problem.shape) if rule == "components" else (by_row[:0], by_row[:0])
    return Assignment(rows, columns, pairs, *groups)


def _choices(plan: Plan) -> tuple[Tensor, Tensor]:
    """Find each row's and each column's greatest entry, a block at a time, without the exponential."""
    problem = plan.problem
    by_row = torch.empty(problem.shape[0], dtype=torch.int64, device=problem.device)
    best = torch.full((problem.shape[1],), -torch.inf, dtype=torch.float64, device=problem.device)
    by_column = torch.zeros(problem.shape[1], dtype=torch.int64, device=problem.device)
    for start, stop in problem.spans():
        block = problem.block(start, stop).double() * -problem.delta
        by_row[start:stop] = (block + plan.v).argmax(1)
        value, index = block.add_(plan.u[start:stop, None]).max(0)
        better = value > best
        best = torch.where(better, value, best)
        by_column = torch.where(better, index + start, by_column)
    return by_row, by_column


def _groups(pairs: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    rows, columns = pairs.cpu().numpy().T
    size = sum(shape)
    edges = coo_array((rows * 0 + 1, (rows, columns + shape[0])), shape=(size, size))
    _, found = connected_components(edges, directed=False)
    groups = torch.as_tensor(found, dtype=torch.int64).to(pairs.device)
    return groups[: shape[0]], groups[shape[0] :]
