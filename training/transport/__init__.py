"""Optimal transport: problems, plans, solvers, assignment rules. Knows nothing of re-identification."""
