"""What a run writes while it goes: one line of numbers an epoch, the labels behind it, curves for TensorBoard.

    RUN/metrics.jsonl  one line an epoch
    RUN/labels.npz     the pseudo-labels of the epoch that was begun last
    RUN/tensorboard/   event files, where the package is installed

Knows no method.
"""

import json
import math
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from training.checkpoint import METRICS
from training.labels import pseudo
from training.labels.pseudo import PseudoLabels
from vireid.errors import TrainingError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LABELS = "labels.npz"
EVENTS = "tensorboard"


class Journal:
    """Writes beside the checkpoint.

    Args:
        run: folder of the run.
        events: whether to write event files.

    Raises:
        TrainingError: event files are demanded, and the package is missing.
    """

    def __init__(self, run: Path, events: Literal["auto", "on", "off"]) -> None:
        there = find_spec("tensorboard") is not None
        if events == "on" and not there:
            raise TrainingError(
                "tensorboard is 'on' and not installed; run: pip install tensorboard, or set tensorboard=off"
            )
        self._run = run
        self._wanted = there and events != "off"
        self._writer: SummaryWriter | None = None

    def tell(self, told: Mapping[str, Any]) -> None:
        """Write the numbers of an epoch; what is not finite becomes null."""
        with (self._run / METRICS).open("a") as file:
            file.write(json.dumps(_finite(told)) + "\n")
        if self._wanted:
            self._draw(told)

    def keep(self, labels: PseudoLabels) -> None:
        """Write the labels an epoch is trained on, in place of the last epoch's."""
        pseudo.save(self._run / LABELS, labels)

    def _draw(self, told: Mapping[str, Any]) -> None:
        if self._writer is None:
            # a second to import: only where it is used
            from torch.utils.tensorboard import SummaryWriter

            # a run that goes on hides what it had drawn of the epochs it makes again
            self._writer = SummaryWriter(str(self._run / EVENTS), purge_step=told["epoch"])
        for name, value in numbers(told):
            if name != "epoch":
                self._writer.add_scalar(name, value, told["epoch"])
        self._writer.flush()


def numbers(told: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """Name every single number of nested ones, ``evaluation/mean/mAP`` say; lists are left out."""
    for key, value in told.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from numbers(value, f"{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
