"""When to try again, and how long to wait first.

Knows errors and time, no transport. The waiting itself is the client's, who may be synchronous or not.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from vireid.errors import Overloaded, ServerUnreachable, Unavailable, VireidError


@dataclass(frozen=True, slots=True)
class Retry:
    """Patience with a server that is busy, draining or away for a moment.

    ``Overloaded`` and ``Unavailable`` say that nothing was started, so they are always tried again; a lost
    connection only when repeating the call does no harm. Every other error is final at once.

    Attributes:
        attempts: calls at most, the first included; 1 never tries again.
        first_wait_s: the first pause when the server names none; each later one doubles.
        longest_wait_s: no pause is longer; a server that asks for more is not tried again.
        draw: a uniform number in [0, 1), so that many clients do not return together.
    """

    attempts: int = 5
    first_wait_s: float = 0.1
    longest_wait_s: float = 10.0
    draw: Callable[[], float] = random.random

    def wait_s(self, failed: int, error: VireidError, *, repeatable: bool) -> float | None:
        """Say how long to wait before the next attempt, or None to give up.

        Args:
            failed: attempts that have failed so far, at least 1.
            error: why the last one failed.
            repeatable: whether the call may be made twice without harm.
        """
        if failed >= self.attempts:
            return None
        if isinstance(error, Overloaded | Unavailable):
            asked_s = error.retry_after_s
        elif isinstance(error, ServerUnreachable) and repeatable:
            asked_s = 0.0
        else:
            return None
        if asked_s > self.longest_wait_s:
            return None
        own_s = self.first_wait_s * 2.0 ** (failed - 1) * (0.5 + 0.5 * self.draw())
        spread_s = asked_s * (1.0 + 0.25 * self.draw())
        return min(max(own_s, spread_s), self.longest_wait_s)


NEVER = Retry(attempts=1)
