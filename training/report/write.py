"""Writes a run's report, and its pictures as files."""

from pathlib import Path

from training.report import charts, page, words
from training.report.content import Content, read
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.grid import grid

REPORT = "report.html"


def write(
    run: Path,
    data: Path | None = None,
    html: Path | None = None,
    pictures: Path | None = None,
    weights: Path | None = None,
    device: str = "auto",
) -> Path:
    """Write the report of a run; the same run and dataset give the same bytes.

    For one process: where several trained together, they must have parted before.

    Args:
        run: its folder.
        data: the dataset's root; None for where the run read it, and then a dataset that is gone is left out.
        html: the file; ``RUN/report.html`` if None.
        pictures: a folder for every picture as an SVG and a PNG file; None for none.
        weights: the file of standard weights the run began with, where it did not begin with fresh ones.
        device: where the network looks at the test images: ``auto``, ``cpu`` or ``cuda``.

    Returns:
        The file.

    Raises:
        TrainingError: it is no run, a file of it is damaged, or dataset or weights are not those it began with.
        DatasetError: the dataset that was named is missing or incomplete, or an image cannot be read.
        EvaluationError: no query of the dataset has a match.
        OSError: a file cannot be written.
    """
    content = read(run, data, weights, device)
    made = page.html(content)
    path = run / REPORT if html is None else html
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made, encoding="utf-8", newline="\n")
    if pictures is not None:
        _save(pictures, content)
    return path


def _save(folder: Path, content: Content) -> None:
    lines = [style.SYNTHETIC] if content.synthetic else []
    lines.append(words.short_title(content))
    drawn = {name: chart.figure for name, chart in charts.every(content, "\n".join(lines)).items()}
    if content.sight is not None:
        drawn["ranked-lists"] = grid(content.sight.evidence, title=" \u00b7 ".join(lines))
    style.save(folder, drawn)
