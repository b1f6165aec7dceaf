"""Where the images of an exam come from, as a command is told: a dataset, or drawn people; with a progress bar."""

import os
from pathlib import Path

from export import exam as exams
from export.exam import Exam
from vireid import progress
from vireid.bundle import Bundle
from vireid.datasets import open_dataset
from vireid.datasets.verify import detect


def of(bundle: Bundle, dataset: Path | None) -> Exam:
    """Gather what an engine of a bundle is proven on.

    Args:
        bundle: says how images are prepared.
        dataset: its root; people are drawn if None.

    Raises:
        ExportError: one modality only, or nobody who is seen in both.
        DatasetError: it is none that is known, or an image cannot be read.
        MissingExtra: drawing people needs the extra ``synthetic``.
    """
    if dataset is None:
        with progress.bar("drawing people to prove it on", exams.PEOPLE * exams.CAMERAS) as advance:
            return exams.drawn(bundle.preprocess, exams.PEOPLE, workers=_processors(), advance=advance)
    with progress.bar("reading images to prove it on") as advance:
        return exams.of_dataset(open_dataset(detect(dataset), dataset), bundle.preprocess, advance=advance)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
