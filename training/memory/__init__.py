"""Memories: prototypes and instances that losses compare with, updated in plain sight after the step."""

from training.memory.in_backward import moving_logits
from training.memory.instances import InstanceBank
from training.memory.prototypes import PrototypeBank

__all__ = ["InstanceBank", "PrototypeBank", "moving_logits"]
