"""A run's report as one HTML file that needs nothing else: no network, no scripts. Knows no files of a run."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from training.report import charts, words
from training.report.charts import Chart
from training.report.content import Content
from training.report.projection import MOST, NEIGHBOURS
from vireid.evaluation import report_parts
from vireid.evaluation.album import FILES
from vireid.evaluation.page import picture, render
from vireid.evaluation.report_parts import percent

TEMPLATE = "report.html.jinja"

Shown = tuple[Markup, str, str]


def html(content: Content) -> str:
    """Return the report.

    Raises:
        DatasetError: an image of a ranked list is missing or cannot be read.
    """
    history, sight = content.history, content.sight
    parts: dict[str, Any] = {
        "title": words.title(content),
        "synthetic": content.synthetic,
        "facts": words.facts(content),
        "headline": words.headline(content),
        "selection": words.selection(content),
        "words": words.measured(content),
        "epoch": content.epoch,
        "tables": words.by_epoch(history),
        "scores": _shown(charts.scores(history)),
        "losses": _shown(charts.losses(history)),
        "told": _shown(charts.told(history)),
        "labels": _shown(charts.labels(history)),
        "sizes": _shown(charts.class_histogram(content)),
        "histograms": [(name, *words.histogram(each)) for name, each in charts.histograms(content).items()],
        "about_labels": words.about_labels(history),
        "labelled": _labelled(content),
        "missing": content.missing,
        "differs": words.differs(content),
        "sight": sight,
        "recipe": report_parts.flat(content.recipe),
        "origin": report_parts.flat(content.origin),
        "most": MOST,
        "neighbours": NEIGHBOURS,
    }
    if sight is not None:
        drawn = charts.planes(sight)
        parts |= {
            "result": sight.result,
            "evidence": sight.evidence,
            "images": True,
            "groups": report_parts.groups(sight.evidence, FILES),
            "found": _shown(charts.found(sight)),
            "pca": _shown({name: chart for name, chart in drawn.items() if name.startswith("pca")}),
            "tsne": _shown({name: chart for name, chart in drawn.items() if name.startswith("tsne")}),
            "gap": [
                (side.capitalize(), percent(p.apart), percent(p.foreign), percent(p.foreign_mixed))
                for side, p in ((charts.BEFORE, sight.before), (charts.AFTER, sight.after))
                if p is not None
            ],
        }
    return render(TEMPLATE, parts, "training.report")


def _shown(drawn: Mapping[str, Chart]) -> list[Shown]:
    return [
        (picture(chart.figure, name, chart.says), chart.name, chart.says) for name, chart in drawn.items()
    ]


def _labelled(content: Content) -> str:
    """Say which epoch's labels the newest ones are, or nothing where there are none."""
    if content.labels is None:
        return ""
    epoch = content.history.marks.get(content.labels.sha256)
    if epoch is None:
        return "an epoch that was begun and not finished"
    return f"epoch {epoch}"
