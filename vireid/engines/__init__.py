"""Runtimes that execute a bundle."""
