"""What is to be trained, as it is asked for: a recipe, a dataset, weights to start from, a labelled source set, labels to take.

An order of two stages is kept on disk until its second begins. Knows no stages and no method.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from training.settings import RunSettings
from vireid.datasets import open_dataset
from vireid.datasets.split import Split
from vireid.errors import SettingsError, TrainingError
from vireid.types import Modality


@dataclass(frozen=True, slots=True)
class Source:
    """A labelled set to learn from besides.

    Attributes:
        name: of its reader.
        root: its folder.
    """

    name: str
    root: Path

    @staticmethod
    def of(word: str) -> "Source":
        """Read ``NAME=DIR``.

        Raises:
            SettingsError: it is not of that form.
        """
        name, sign, root = word.partition("=")
        if not (sign and name and root):
            raise SettingsError(f"--source {word!r}: expected NAME=DIR, for example market1501=DIR")
        return Source(name, Path(root))

    def read(self) -> Split:
        """Return its visible training images.

        Raises:
            DatasetError: it cannot be read.
            TrainingError: it has no visible training images.
        """
        train = open_dataset(self.name, self.root).train.of(Modality.VISIBLE)
        if not len(train):
            raise TrainingError(f"{self.root} has no visible training images to learn from besides")
        return train


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be trained.

    Attributes:
        settings: the recipe; of the last stage if there are two.
        data: the dataset's root.
        name: the dataset's name; found by the layout if None.
        weights: standard weights every stage starts from; fresh ones if None.
        source: a labelled set that the method that clusters visible images learns from besides.
        stage1: a finished run to take the first stage's labels from; None for one of its own.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    settings: RunSettings
    data: Path
    name: str | None = None
    weights: Path | None = None
    source: Source | None = None
    stage1: Path | None = None
    device: str = "auto"


def write(path: Path, order: Order) -> None:
    """Write an order to a JSON file, whole or not at all."""
    told = {
        "recipe": order.settings.model_dump(mode="json"),
        "data": str(order.data.resolve()),
        "name": order.name,
        "weights": None if order.weights is None else [str(order.weights.resolve()), _sum(order.weights)],
        "source": None if order.source is None else [order.source.name, str(order.source.root.resolve())],
    }
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(told, indent=2) + "\n")
    part.replace(path)


def read(path: Path, data: Path | None, device: str) -> Order:
    """Read an order back.

    Args:
        path: as written.
        data: the dataset's root, if it moved.
        device: to train on now.

    Raises:
        TrainingError: the file is damaged, or the weights are no longer what they were.
    """
    try:
        told = json.loads(path.read_bytes())
        wanted = RunSettings.model_validate(told["recipe"])
        root, name = Path(told["data"]), told["name"]
        weights, source = told["weights"], told["source"]
    except (ValueError, LookupError, TypeError) as error:
        raise TrainingError(f"{path} is damaged: {error}") from None
    if weights is not None and not (Path(weights[0]).is_file() and _sum(Path(weights[0])) == weights[1]):
        raise TrainingError(f"{weights[0]} is no longer the file the first stage began from; put it back")
    return Order(
        wanted,
        data or root,
        name,
        weights=None if weights is None else Path(weights[0]),
        source=None if source is None else Source(source[0], Path(source[1])),
        device=device,
    )


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
