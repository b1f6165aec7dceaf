"""Inner loops compiled to machine code, kept on disk between runs where that is possible. Knows none of the loops.

Importing this imports numba, which takes a while: whoever is not always needed imports its loops late.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(*, fastmath: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that compiles a function of arrays and numbers at its first call.

    Other threads run meanwhile. Without a folder that may be written to (a read-only image, a user without a
    home) each process compiles anew.

    Args:
        fastmath: let sums be regrouped; then neither NaN nor infinity nor the last digit may matter.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        fast: Callable[P, R]
        try:
            fast = numba.njit(cache=True, fastmath=fastmath, nogil=True)(function)
        except RuntimeError:  # numba's word for having no place to keep it
            fast = numba.njit(fastmath=fastmath, nogil=True)(function)
        return fast

    return decorate
