"""A comparison as one HTML file that needs nothing else: no network, no scripts."""

from typing import Any

from training.comparison.charts import charts
from training.comparison.content import Content, Part
from training.comparison.rows import Number
from vireid.evaluation.page import picture, render
from vireid.evaluation.report_parts import percent

TEMPLATE = "comparison.html.jinja"
_PLACES = ("training.comparison", "training.report")


def html(content: Content) -> str:
    """Return the page."""
    parts: dict[str, Any] = {
        "title": _title(content),
        "synthetic": any(part.synthetic for part in content.parts),
        "warning": content.warning,
        "parts": [_part(part, f"part{number}") for number, part in enumerate(content.parts, start=1)],
        "left": list(content.left.items()),
    }
    return render(TEMPLATE, parts, *_PLACES)


def _title(content: Content) -> str:
    runs = sum(len(row.runs) for part in content.parts for row in part.rows)
    return f"{runs} {'runs' if runs > 1 else 'run'} on {', '.join(dict.fromkeys(p.title for p in content.parts))}"


def _part(part: Part, slug: str) -> dict[str, Any]:
    scores = list(dict.fromkeys(name for row in part.rows for name in row.scores))
    labels = list(dict.fromkeys(name for row in part.rows for name in row.labels))
    drawn = charts(part.groups, part.rows)
    return {
        "slug": slug,
        "title": part.title,
        "synthetic": part.synthetic,
        "words": part.words,
        "names": [*scores, *(name[0].upper() + name[1:] for name in labels)],
        "rows": [
            {
                "number": row.number,
                "name": row.name,
                "apart": row.apart,
                "marked": bool(row.marks),
                "values": [
                    *(_value(row.scores.get(name)) for name in scores),
                    *(_value(row.labels.get(name)) for name in labels),
                ],
            }
            for row in part.rows
        ],
        "labelled": bool(labels),
        "several": any(len(row.runs) > 1 for row in part.rows),
        "marks": [(row.number, row.name, mark) for row in part.rows for mark in row.marks],
        "pictures": [
            (picture(chart.figure, f"{slug}-{name}", chart.says), chart.name, chart.says)
            for name, chart in drawn.items()
        ],
        "cards": [
            {
                "number": row.number,
                "title": row.title,
                "facts": [*row.facts.items(), ("Seconds of an epoch", _seconds(row.seconds))],
                "runs": ", ".join(row.runs),
            }
            for row in part.rows
        ],
    }


def _value(found: Number | None) -> tuple[str, str]:
    """Say a share in percent, and its deviation."""
    if found is None:
        return "", ""
    return percent(found.mean), "" if found.std is None else percent(found.std)


def _seconds(found: Number | None) -> str:
    return "not timed" if found is None else f"{found.mean:.1f}"
