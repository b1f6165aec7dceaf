"""A result as a document, as JSON, as CSV and as a table. The same input gives the same bytes.

No dates, no machine, no absolute paths. Knows no pictures.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vireid.evaluation import provenance
from vireid.evaluation.measure import Measured
from vireid.evaluation.result import Average, Result

FORMAT = 1


def save(measured: Measured, json_file: Path | None, csv_file: Path | None) -> None:
    """Write the report to the files that are asked for.

    Raises:
        OSError: a file cannot be written.
    """
    for path, content in (
        (json_file, to_json(document(measured)) if json_file else ""),
        (csv_file, to_csv(measured.result) if csv_file else ""),
    ):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")


def document(measured: Measured) -> dict[str, Any]:
    """Return everything a result is made of and from, as JSON values."""
    return {
        "format": FORMAT,
        "code": provenance.code(),
        "sources": [asdict(source) for source in measured.sources],
        **measured.result.to_json(),
    }


def made_from(measured: Measured) -> dict[str, object]:
    """Return what a report tells of its origin, for those who read it: code and sources, nothing that is empty."""
    sources = [{k: v for k, v in asdict(source).items() if v} for source in measured.sources]
    return {"code": provenance.code(), **(sources[0] if len(sources) == 1 else {"split": sources})}


def to_json(found: dict[str, Any]) -> str:
    """Return a document as text: sorted keys, the shortest exact numbers, one line end."""
    return json.dumps(found, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def to_csv(result: Result) -> str:
    """Return one line for each trial; scores are fractions."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = list(result.mean.named(result.ranks))
    writer.writerow(["protocol", "trial", "n_query", "n_valid", "n_gallery", *names])
    for t in result.trials:
        counts = [result.protocol.name, t.number, t.scores.n_query, t.scores.n_valid, t.n_gallery]
        writer.writerow([*counts, *(repr(v) for v in t.average.named(result.ranks).values())])
    return out.getvalue()


def table(result: Result) -> str:
    """Return a result as lines of percents."""
    names = [*(f"R{r}" for r in result.ranks), "mAP", "mINP"]
    lines = [
        ("SYNTHETIC IMAGES: " if result.synthetic else "") + str(result.protocol),
        f"{'trial':>7} {'queries':>8} {'valid':>7} {'gallery':>8} " + " ".join(f"{n:>6}" for n in names),
    ]
    for t in result.trials:
        counts = f"{t.number:>7} {t.scores.n_query:>8} {t.scores.n_valid:>7} {t.n_gallery:>8} "
        lines.append(counts + _percents(t.average, result.ranks))
    if len(result.trials) > 1:
        lines.append(f"{'mean':>7} {'':>8} {'':>7} {'':>8} " + _percents(result.mean, result.ranks))
        lines.append(f"{'std':>7} {'':>8} {'':>7} {'':>8} " + _percents(result.std, result.ranks))
    if result.protocol.splits and len(result.trials) < result.protocol.splits:
        lines.append(
            f"{len(result.trials)} of {result.protocol.splits} identity splits; published numbers are means "
            f"over {result.protocol.splits} models, one for each"
        )
    return "\n".join(lines)


def _percents(average: Average, ranks: Sequence[int]) -> str:
    return " ".join(f"{100 * v:6.2f}" for v in average.named(ranks).values())
