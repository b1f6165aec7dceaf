"""A result as one HTML file that needs nothing else: no network, no scripts, the same bytes for the same input.

Needs the extra ``evaluation``: importing this module without it raises ``MissingExtra``.
"""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from vireid.errors import MissingExtra
from vireid.evaluation import report_parts
from vireid.evaluation.album import FILES, Album
from vireid.evaluation.evidence import Evidence
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.cmc import cmc
from vireid.evaluation.pictures.det import det
from vireid.evaluation.pictures.grid import grid
from vireid.evaluation.pictures.histogram import histogram
from vireid.evaluation.pictures.inline import inline
from vireid.evaluation.pictures.precision_recall import precision_recall
from vireid.evaluation.pictures.style import Figure
from vireid.evaluation.result import Result

try:
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup
except ModuleNotFoundError as error:
    raise MissingExtra("the HTML report needs jinja2; run: pip install 'vireid[evaluation]'") from error

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
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pictures = {name: _inline(name, picture) for name, picture in _charts(result, evidence).items()}
    parts: dict[str, Any] = {
        "result": result,
        "evidence": evidence,
        "pictures": pictures,
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
    return environment.get_template(TEMPLATE).render(parts)


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
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, picture in drawn.items():
        written += [folder / f"{name}.svg", folder / f"{name}.png"]
        written[-2].write_text(style.svg(picture), encoding="utf-8", newline="\n")
        written[-1].write_bytes(style.png(picture))
    return tuple(written)


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


def _inline(name: str, picture: Figure) -> Markup:
    return Markup(inline(picture, name, _SAYS[name]))  # noqa: S704 - drawn here, without foreign words


def _template(name: str) -> str:
    return resources.files("vireid.evaluation").joinpath(name).read_text(encoding="utf-8")
