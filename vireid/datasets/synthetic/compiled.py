"""Inner loops compiled to machine code, kept on disk between runs where that is possible. Knows none of the loops."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of arrays and numbers at its first call.

    Without a folder that may be written to (a read-only image, a user without a home) each process compiles anew.
    """
    fast: Callable[P, R]
    try:
        fast = numba.njit(cache=True, fastmath=True)(function)
    except RuntimeError:  # numba's word for having no place to keep it
        fast = numba.njit(fastmath=True)(function)
    return fast
