"""A run and the scores it ends with, as it recorded them. Looks at no network and no image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import checkpoint
from training.report import history
from training.report.history import History
from training.run import HANDED
from training.settings import RunSettings
from vireid.errors import TrainingError

FROM_SPLITS = "regdb"  # its runs are trained and scored on one of ten identity splits


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A run with scores.

    Attributes:
        name: its folder's, with as many of the folders above as tell it from the others.
        settings: its recipe.
        origin: what it began with.
        history: its numbers.
        epoch: the one whose weights it ends with.
        scores: what was recorded of that epoch.
    """

    name: str
    settings: RunSettings
    origin: Mapping[str, Any]
    history: History
    epoch: int
    scores: Mapping[str, Any]

    @property
    def finished(self) -> bool:
        """Whether it made all the epochs its recipe asks for."""
        return self.history.epochs >= self.settings.epochs

    @property
    def protocol(self) -> Mapping[str, Any]:
        """How it was scored, without which split: that belongs to the data."""
        told = dict(self.scores["protocol"])
        if self.origin["dataset"] == FROM_SPLITS:
            told.pop("trials", None)
        return {name: value for name, value in told.items() if name != "words"}

    @property
    def data(self) -> Mapping[str, Any]:
        """What it was trained and scored on, wherever that lies."""
        trials = [
            {name: trial.get(name) for name in ("n_query", "n_gallery", "n_valid")}
            for trial in self.scores.get("trials", ())
        ]
        return {
            "dataset": self.origin["dataset"],
            "split": self.settings.data.trial if self.origin["dataset"] == FROM_SPLITS else None,
            "synthetic": bool(self.scores["synthetic"]),
            "train images": self.origin["train_images"],
            "train files": self.origin.get("train_files"),
            "drawn": self.origin.get("drawn_sha256"),
            "tested": trials,
        }


def read(folders: Sequence[Path]) -> tuple[tuple[Measured, ...], dict[str, str]]:
    """Read runs.

    Args:
        folders: of runs, each once.

    Returns:
        Those with scores, in their order; and the names of the others, each with the reason.

    Raises:
        TrainingError: a folder is no run or is damaged.
    """
    found: list[Measured] = []
    left: dict[str, str] = {}
    for folder, name in zip(folders, _names(folders), strict=True):
        if _between_stages(folder):
            left[name] = "its second stage has not begun"
            continue
        settings, origin = checkpoint.load_settings(folder), checkpoint.load_origin(folder)
        told = history.read(folder)
        epoch = _ends_with(settings, folder, told)
        scores = dict(told.evaluations).get(epoch)
        if scores is None:
            left[name] = _unscored(told)
        elif "cmc" not in scores:
            raise TrainingError(f"{folder} is damaged: the scores of epoch {epoch} hold no CMC curve")
        else:
            found.append(Measured(name, settings, origin, told, epoch, scores))
    return tuple(found), left


def _between_stages(folder: Path) -> bool:
    """Whether a run of two stages is still in its first: it has no recipe of its own yet."""
    return (folder / HANDED[0]).is_file() and not (folder / checkpoint.RECIPE).is_file()


def _ends_with(settings: RunSettings, folder: Path, told: History) -> int:
    """Return the epoch whose weights a run ends with; 0 before the first."""
    if settings.select == "last":
        return told.epochs
    chosen = [
        line["epoch"] for line in checkpoint.read_metrics(folder) if line.get("selected", {}).get("best")
    ]
    return int(chosen[-1]) if chosen else told.epochs


def _unscored(told: History) -> str:
    if not told.epochs:
        return "no epoch was finished yet"
    scored = [epoch for epoch, _ in told.evaluations if epoch]
    more = f"; the last that was is epoch {scored[-1]}" if scored else ""
    return f"epoch {told.epochs}, whose weights it ends with, was not evaluated{more}"


def _names(folders: Sequence[Path]) -> list[str]:
    """Name folders by as few of their last parts as tell all apart."""
    whole = [folder.resolve().parts for folder in folders]
    twice = sorted(
        {str(folder) for folder, parts in zip(folders, whole, strict=True) if whole.count(parts) > 1}
    )
    if twice:
        raise TrainingError(f"{', '.join(twice)}: a run is named twice; name each once")
    for length in range(1, max(map(len, whole)) + 1):
        names = ["/".join(parts[-length:]) for parts in whole]
        if len(set(names)) == len(names):
            return names
    return ["/".join(parts) for parts in whole]
