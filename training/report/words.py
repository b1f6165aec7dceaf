"""What a report says, as plain words and numbers in the order they are shown. Knows no markup and no pictures."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from training.display import clock
from training.report.content import Content
from training.report.history import History
from training.settings import RunSettings
from vireid.arrays import Int64Array
from vireid.evaluation.report_parts import Measure, percent, words
from vireid.types import Modality

FEATURE = "A feature is the network's embedding after its batch-norm neck, scaled to length 1; similarity is the cosine."
_AGREE = 5e-4  # how far scores of the same weights may lie apart on two computers


def title(content: Content) -> str:
    """Name the run."""
    return f"{called(content.settings)} on {content.origin['dataset']}"


def short_title(content: Content) -> str:
    """Name the run where there is little room."""
    return f"{content.settings.method.name} on {content.origin['dataset']}"


def called(settings: RunSettings) -> str:
    """Name a method, with its setting if it has several."""
    setting = getattr(settings.method, "setting", "")
    return f"{settings.method.name} ({setting})" if setting else settings.method.name


def network(settings: RunSettings) -> str:
    """Name a network and the size of its images."""
    return f"{settings.model.name}, {settings.model.height} x {settings.model.columns}"


def begun(origin: Mapping[str, Any]) -> str:
    """Name the weights a run began with."""
    return str(origin.get("start", "")).partition(" sha256:")[0]


def facts(content: Content) -> tuple[tuple[str, str], ...]:
    """Return what ran."""
    settings, origin = content.settings, content.origin
    commit = str(origin.get("commit") or "")
    mark = commit[:12] + (", changed since" if commit.endswith("-dirty") else "")
    split = f", split {settings.data.trial}" if origin["dataset"] == "regdb" else ""
    every = (
        ("Method", settings.method.name),
        ("Dataset", f"{origin['dataset']}{split}{', synthetic' if content.synthetic else ''}"),
        ("Training images", f"{origin['train_images']:,}"),
        ("Network", network(settings)),
        ("Start", begun(origin)),
        ("Seed", str(settings.seed)),
        ("Epochs", f"{content.epoch} of {settings.epochs}"),
        ("Training took", clock(content.history.seconds)),
        ("Commit", mark),
        ("vireid", str(origin.get("vireid", ""))),
        ("torch", str(origin.get("torch", ""))),
    )
    return tuple((name, value) for name, value in every if value)


def selection(content: Content) -> str:
    """Say how the epoch whose scores are reported was chosen."""
    epoch, whole = content.epoch, content.settings.epochs
    if content.settings.select == "best_on_test":
        return (
            f"Best, not last: the run ends with the weights of epoch {epoch}, whose first mean score on the test "
            "images was the highest. It was chosen on the test images, as published code does; that is no fair score."
        )
    unfinished = "" if epoch == whole else f" The run is not finished: its recipe asks for {whole} epochs."
    return (
        f"Last, not best: the run ends with the weights of epoch {epoch}, the last one, whatever other epochs "
        f"scored. Nothing was chosen on the test images.{unfinished}"
    )


def measured(content: Content) -> tuple[str, ...]:
    """Return how scores were measured, sentence by sentence."""
    if content.sight is not None:
        return (FEATURE, *words(content.sight.result.protocol))
    recorded = _reported(content)
    if recorded is None:
        return (FEATURE,)
    told = str(recorded["protocol"].get("words", "")).partition(": ")[2].split("; ")
    return (FEATURE, *(part[0].upper() + part[1:] + "." for part in told if part))


def headline(content: Content) -> tuple[Measure, ...]:
    """Return the recorded scores of the weights the run ends with; nothing where they were not measured."""
    recorded = _reported(content)
    if recorded is None:
        return ()
    trials = recorded.get("trials", [])
    many = len(trials) > 1
    found = []
    for key, mean in recorded["mean"].items():
        each = [trial[key] for trial in trials] if many else []
        found.append(
            Measure(
                measure(key),
                percent(mean),
                percent(recorded["std"][key]) if many else "",
                percent(min(each)) if many else "",
                percent(max(each)) if many else "",
                float(mean),
            )
        )
    return tuple(found)


def by_epoch(history: History) -> tuple[tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]], ...]:
    """Return the table of scores of each protocol: its name, what its columns are, a row for each epoch."""
    tables: dict[tuple[str, tuple[str, ...]], list[tuple[str, ...]]] = {}
    for epoch, scores in history.evaluations:
        names = tuple(measure(key) for key in scores["mean"])
        row = (str(epoch), *(percent(value) for value in scores["mean"].values()))
        tables.setdefault((str(scores["protocol"].get("name", "")), names), []).append(row)
    return tuple((name, columns, tuple(rows)) for (name, columns), rows in tables.items())


def differs(content: Content) -> str:
    """Say that the scores computed now are not those that were recorded, or nothing."""
    recorded = _reported(content)
    if recorded is None or content.sight is None:
        return ""
    now = content.sight.result.mean.named(content.sight.result.ranks)
    far = [key for key, value in recorded["mean"].items() if abs(now.get(key, value) - value) > _AGREE]
    if not far:
        return ""
    told = ", ".join(
        f"{measure(k)} {percent(now[k])} now and {percent(recorded['mean'][k])} then" for k in far
    )
    return f"These are not the scores that the run recorded ({told}): the dataset is another one by now."


def about_labels(history: History) -> str:
    """Say what the numbers of the labels are held against."""
    if "labels/ari" in history.series:
        return (
            "How the labels that each epoch was trained on compare with the truth, which the method never sees "
            "beyond what it was told."
        )
    return "Who is truly on the images is not known, so nothing is said of how right the labels are."


def histogram(counts: Int64Array) -> tuple[str, ...]:
    """Tell how evenly images are spread over classes: classes, empty ones, the largest one's share, as if so many."""
    shares = counts / max(1, int(counts.sum()))
    some = shares[shares > 0]
    alike = float(np.exp(-(some * np.log(some)).sum()))
    return (
        f"{len(counts):,}",
        f"{int((counts == 0).sum()):,}",
        percent(shares.max(initial=0.0)),
        f"{alike:.1f}",
    )


def sizes(labels: Mapping[str, Any]) -> dict[str, Int64Array]:
    """Return the recorded sizes of the classes of each modality that has some."""
    found = labels.get("sizes")
    held = found if isinstance(found, Mapping) else {}
    return {kind.word: np.array(held[kind.word], dtype=np.int64) for kind in Modality if held.get(kind.word)}


def _reported(content: Content) -> Mapping[str, Any] | None:
    """Return the recorded scores of the epoch the run ends with."""
    return dict(content.history.evaluations).get(content.epoch) if content.epoch else None


def measure(key: str) -> str:
    """Name a measure as a reader knows it."""
    return f"Rank {key.removeprefix('rank')}" if key.startswith("rank") else key
