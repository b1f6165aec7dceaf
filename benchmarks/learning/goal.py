"""A goal of a benchmark: what was measured and whether it is good enough."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """One measured goal.

    Args:
        name: what was measured, in snake case.
        ratio: what came out; None if it could not be measured, which is no pass.
        goal: the limit, with its direction: ">=2".
        passed: whether it is met.
        detail: the figures behind it, in one line.
    """

    name: str
    ratio: float | None
    goal: str
    passed: bool
    detail: str = ""

    @classmethod
    def at_least(cls, name: str, ratio: float | None, least: float, detail: str = "") -> "Goal":
        """Make a goal that asks for a ratio no smaller."""
        return cls(name, ratio, f">={least:g}", ratio is not None and ratio >= least, detail)

    @classmethod
    def at_most(cls, name: str, value: float | None, most: float, detail: str = "") -> "Goal":
        """Make a goal that asks for a value no greater."""
        return cls(name, value, f"<={most:g}", value is not None and value <= most, detail)

    @property
    def outcome(self) -> str:
        """Say pass, miss, or skip where nothing could be measured."""
        if self.ratio is None:
            return "skip"
        return "pass" if self.passed else "miss"

    def line(self) -> str:
        """Say it in one line."""
        return f"{self.name} {'-' if self.ratio is None else f'{self.ratio:.3g}'} {self.goal} {self.outcome}"
