"""Pseudo-labels: who is taken for whom, and how good that is. Knows no network and no optimiser."""
