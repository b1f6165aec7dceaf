"""Benchmarks of what training is made of, one file a block; benchmarks/training.py runs them."""
