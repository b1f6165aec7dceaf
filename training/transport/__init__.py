"""Optimal transport: problems, plans, solvers, assignment rules. Knows nothing of re-identification."""

from training.transport.assign import Assignment, Rule, assign
from training.transport.exact import exact
from training.transport.plan import Plan
from training.transport.problem import Problem, RowBlocks
from training.transport.solve import solve

__all__ = ["Assignment", "Plan", "Problem", "RowBlocks", "Rule", "assign", "exact", "solve"]
