"""Every picture of a report, by name, with what it shows in words. Knows no page."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.report import projection, words
from training.report.content import Content
from training.report.history import RATE, History
from training.report.pictures.class_sizes import class_sizes
from training.report.pictures.curves import Line, curves
from training.report.pictures.scatter import PERSONS, Plane, by_modality, by_person
from training.report.sight import Sight
from vireid.arrays import Int64Array
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.cmc import cmc
from vireid.evaluation.pictures.histogram import histogram
from vireid.evaluation.pictures.style import Figure

BEFORE, AFTER = "before", "after"
_DASHES = "--"


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """A picture and its words.

    Attributes:
        figure: the picture.
        name: what stands above its words.
        says: what it shows.
    """

    figure: Figure
    name: str
    says: str


def losses(history: History, title: str = "") -> dict[str, Chart]:
    """Draw each loss by itself, then the learning rate."""
    found = {}
    for name in history.losses:
        said = name.replace("_", " ").replace("/", ", ")
        what = "What is minimised, a mean over the epoch." if name == "total" else "A mean over the epoch."
        found[f"loss-{_slug(name)}"] = Chart(
            curves([Line(said, history.series[name])], said, title, scale="wide", small=True),
            said.capitalize(),
            what,
        )
    if RATE in history.series:
        found["rate"] = Chart(
            curves([Line("rate", history.series[RATE])], "learning rate", title, small=True),
            "Learning rate",
            "At the end of each epoch, of what learns fastest.",
        )
    return found


def told(history: History, title: str = "") -> dict[str, Chart]:
    """Draw what the method told of its labelling, number by number."""
    return {
        f"told-{_slug(name)}": Chart(
            curves(
                [Line(name, history.series[name])], name.replace("_", " "), title, scale="wide", small=True
            ),
            name.replace("_", " ").capitalize(),
            _TOLD.get(name, "As the method told it when the epoch began."),
        )
        for name in history.told
    }


def scores(history: History, title: str = "") -> dict[str, Chart]:
    """Draw the mean scores over the evaluated epochs; nothing where there are fewer than two."""
    if len(history.evaluations) < 2:
        return {}
    wanted = (
        ("rank1", "Rank 1", style.FIRST, "-", "o"),
        ("mAP", "mAP", style.SECOND, _DASHES, "s"),
        ("mINP", "mINP", style.FAINT, ":", "^"),
    )
    lines = [
        Line(said, history.series[f"evaluation/mean/{key}"], colour, dashes, mark)
        for key, said, colour, dashes, mark in wanted
        if f"evaluation/mean/{key}" in history.series
    ]
    says = "Mean scores of the evaluated epochs; epoch 0 is before training."
    return {"scores": Chart(curves(lines, "% of valid queries", title, scale="shares"), "Scores", says)}


_TOLD = {
    "iterations": "Of the solver, until the epoch's labels stood.",
    "error": "Greatest relative error of a marginal, when the solver stopped.",
    "classes": "That were given an image.",
    "largest_class": "Share of the images in the largest class.",
    "clusters": "That the clustering found.",
    "outliers": "Images that belong to no cluster.",
}

_LABELS = (
    (
        "label-accuracy",
        "Label accuracy",
        "Share of images whose class stands for who is truly on them. A class stands for whoever most of its visible "
        "images show; an image without a class is wrong.",
        "% of images",
        (
            ("accuracy/visible", "visible", style.FIRST, "-", "o"),
            ("accuracy/infrared", "infrared", style.SECOND, _DASHES, "s"),
            ("accuracy/all", "all", style.FAINT, ":", "^"),
        ),
    ),
    (
        "label-quality",
        "Cluster quality",
        "R_gt: how whole persons stay. R_ct: how pure classes are. P_v: share of images in classes of more than one. "
        "R_plq: their product with how close the number of classes is to that of persons. ARI: adjusted Rand index.",
        "%",
        (
            ("r_gt", "R_gt", style.FIRST, "-", "o"),
            ("r_ct", "R_ct", style.FIRST, _DASHES, "s"),
            ("p_v", "P_v", style.FAINT, ":", "^"),
            ("r_plq", "R_plq", style.SECOND, "-", "D"),
            ("ari", "ARI", style.SECOND, _DASHES, "v"),
        ),
    ),
    (
        "label-pairs",
        "Pairs",
        "Of two images in one class, how often they show one person (precision); of two images of one person, how "
        "often they are in one class (recall). Across modalities is what a search between them learns from.",
        "% of pairs",
        (
            ("within/precision", "within, precision", style.FIRST, "-", "o"),
            ("within/recall", "within, recall", style.FIRST, _DASHES, "s"),
            ("across/precision", "across, precision", style.SECOND, "-", "^"),
            ("across/recall", "across, recall", style.SECOND, _DASHES, "v"),
        ),
    ),
)


def labels(history: History, title: str = "") -> dict[str, Chart]:
    """Draw how many classes there are, how many images have none, and how good the labels are."""
    found = {}
    for slug, name, says, axis, wanted in _LABELS:
        lines = [
            Line(said, history.series[f"labels/{key}"], colour, dashes, mark)
            for key, said, colour, dashes, mark in wanted
            if f"labels/{key}" in history.series
        ]
        if lines:
            found[slug] = Chart(curves(lines, axis, title, scale="shares"), name, says)
    counts = [
        Line(said, history.series[f"labels/{key}"], colour, dashes, mark)
        for key, said, colour, dashes, mark in (
            ("classes", "classes", style.FIRST, "-", "o"),
            ("persons", "persons, in truth", style.FAINT, ":", "^"),
            ("outliers", "images without a class", style.SECOND, _DASHES, "s"),
        )
        if f"labels/{key}" in history.series
    ]
    if counts:
        says = "Classes with an image, and images that belong to none or stand alone."
        found["label-counts"] = Chart(curves(counts, "number", title), "Classes", says)
    return found


def histograms(content: Content) -> dict[str, Int64Array]:
    """Return the sets of classes that are compared, by what they are called; the newest labels' infrared classes."""
    made = {} if content.labels is None else content.labels.made
    by_transport, by_greatest = made.get("histogram"), made.get("histogram_argmax")
    if by_transport is not None and by_greatest is not None and made.get("by") != "most likely":
        return {
            "with optimal transport": np.array(by_transport, dtype=np.int64),
            "greatest answer instead": np.array(by_greatest, dtype=np.int64),
        }
    if by_transport is not None:
        return {"greatest answer": np.array(by_transport, dtype=np.int64)}
    return words.sizes(content.history.labels)


def class_histogram(content: Content, title: str = "") -> dict[str, Chart]:
    """Draw how many images each class has."""
    counts = histograms(content)
    if not counts:
        return {}
    assigned = "with optimal transport" in counts
    says = (
        "Infrared images of each class. The same answers of the network were turned into labels twice: by optimal "
        "transport, which gives each class its share, and by taking the greatest answer of each image."
        if assigned
        else "Images of each class."
    )
    return {"class-sizes": Chart(class_sizes(counts, title), "Images of a class", says)}


def found(sight: Sight, title: str = "") -> dict[str, Chart]:
    """Draw the CMC curve, and scores of the same person and of different people."""
    level = "persons" if sight.result.protocol.cmc == "identity" else "images"
    says = f"How often the person asked for is among the first r {level} of the ranking."
    pairs = (
        f"{sight.evidence.score.capitalize()} of the image pairs that are compared. Where the two overlap, no "
        "threshold tells them apart."
    )
    return {
        "cmc": Chart(cmc(sight.result, title), "CMC", says),
        "histogram": Chart(histogram(sight.evidence, title), "Scores", pairs),
    }


def planes(sight: Sight, title: str = "") -> dict[str, Chart]:
    """Draw the two modalities in the plane, before training and after."""
    drawn = {}
    shown = projection.persons(sight.person, sight.modality, len(PERSONS))
    sides = {BEFORE: sight.before, AFTER: sight.after}
    for kind in ("pca", "tsne"):
        for colouring in ("modality", "person"):
            for side, projected in sides.items():
                plane = None if projected is None else _plane(sight, projected, kind)
                if plane is None:
                    continue
                figure = (
                    by_modality(plane, title) if colouring == "modality" else by_person(plane, shown, title)
                )
                method = "PCA" if kind == "pca" else "t-SNE"
                says = f"{method} of the test images {side} training, coloured by {colouring}."
                name = f"{side.capitalize()} training, by {colouring}"
                drawn[f"{kind}-{colouring}-{side}"] = Chart(figure, name, says)
    return drawn


def _plane(sight: Sight, projected: projection.Projection, kind: str) -> Plane | None:
    if kind == "tsne":
        if projected.tsne is None:
            return None
        return Plane(projected.tsne, sight.modality, sight.person)
    first, second = projected.explained
    axes = (f"first direction, {100 * first:.1f} % of the variance", f"second, {100 * second:.1f} %")
    return Plane(projected.pca, sight.modality, sight.person, axes)


def every(content: Content, title: str = "") -> Mapping[str, Chart]:
    """Return all pictures of a report."""
    history, sight = content.history, content.sight
    drawn = losses(history, title) | told(history, title) | scores(history, title)
    drawn |= labels(history, title) | class_histogram(content, title)
    return drawn if sight is None else drawn | found(sight, title) | planes(sight, title)


def _slug(name: str) -> str:
    """Name a picture by what it shows: letters, digits and dashes only."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
