"""Clients of a running server; thin on purpose: types, errors and the wire, no numerics."""
