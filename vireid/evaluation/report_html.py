"""A result as one HTML file that needs nothing else: no network, no scripts, the same bytes for the same input.

Needs the extra ``evaluation``: importing this module without it raises ``MissingExtra``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vireid.evaluation import report_parts
from vireid.evaluation.album import FILES, Album
from vireid.evaluation.evidence import Evidence
from vireid.evaluation.page import picture, render
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.cmc import cmc
from vireid.evaluation.pictures.det import det
from vireid.evaluation.pictures.grid import grid
from vireid.evaluation.pictures.histogram import histogram
from vireid.evaluation.pictures.precision_recall import precision_recall
from vireid.evaluation.pictures.style import Figure
from vireid.evaluation.result import Result

TEMPLATE = "report.html.jinja"


def write(
    path: Path,
    result: Result,
    evidence: Evidence,
    provenance: Mapping[str, object],
    album: Album | None = FILES,
) -> Path:
    """Write the report; see ``html``.

    Raises:
        DatasetError: an image is missing or cannot be read.
        OSError: the file cannot be written.
    """
    content = html(result, evidence, provenance, album)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="\n")
    return path


def html(
    result: Result,
    evidence: Evidence,
    provenance: Mapping[str, object],
    album: Album | None = FILES,
) -> str:
    """Return the report.

    Args:
        result: what was measured.
        evidence: of the same run.
        provenance: what it was made from, JSON values under any names; told in their order.
        album: where images are; None where there are none.

    Raises:
        DatasetError: an image is missing or cannot be read.
    """
    charts = _charts(result, evidence)
    parts: dict[str, Any] = {
        "result": result,
        "evidence": evidence,
        "pictures": {name: picture(drawn, name, _SAYS[name]) for name, drawn in charts.items()},
        "headline": report_parts.headline(result),
        "trials": report_parts.trials(result),
        "facts": report_parts.facts(result),
        "words": report_parts.words(result.protocol),
        "note": report_parts.splits_note(result),
        "alarms": report_parts.alarms(evidence),
        "groups": report_parts.groups(evidence, album),
        "images": album is not None,
        "provenance": report_parts.flat(provenance),
    }
    return render(TEMPLATE, parts)


def write_pictures(
    folder: Path, result: Result, evidence: Evidence, album: Album | None = FILES
) -> tuple[Path, ...]:
    """Write every picture as an SVG and a PNG file.

    Args:
        folder: where they go.
        result: what was measured.
        evidence: of the same run.
        album: where images are; None where there are none, and then the ranked lists are left out.

    Raises:
        DatasetError: an image is missing or cannot be read.
        OSError: a file cannot be written.
    """
    title = (f"{style.SYNTHETIC} \u00b7 " if result.synthetic else "") + result.protocol.name
    drawn = _charts(result, evidence, title)
    if album is not None:
        drawn["ranked-lists"] = grid(evidence, album, title)
    return style.save(folder, drawn)


_SAYS = {
    "cmc": "CMC curve: share of queries whose person is found at each rank or before",
    "precision-recall": "Precision over recall",
    "histogram": "Histogram of scores of the same person and of different people",
    "det": "DET curve: FNIR against FPIR",
}


def _charts(result: Result, evidence: Evidence, title: str = "") -> dict[str, Figure]:
    return {
        "cmc": cmc(result, title),
        "precision-recall": precision_recall(evidence, title),
        "histogram": histogram(evidence, title),
        "det": det(evidence, title),
    }
