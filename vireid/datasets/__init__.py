"""Readers of the field's datasets and the synthetic generator."""
