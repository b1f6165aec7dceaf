"""What every part of a recipe is, and what every method's part holds. Knows no method."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of a recipe: frozen, and without a key that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MethodSettings(Part):
    """What every method has.

    Attributes:
        name: a key of ``SETTINGS``.
    """

    name: str

    @property
    def first_phase(self) -> int:
        """Epochs in which the method does not do yet what sets it apart; 0 if there are none."""
        return 0
