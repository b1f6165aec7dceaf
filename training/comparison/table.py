"""A comparison as text: for a terminal, and as Markdown with every column."""

from collections.abc import Iterator, Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Group as Lines
from rich.table import Table
from rich.text import Text

from training.comparison.content import Content, Part
from training.comparison.rows import ACCURACY, ARI, Number
from vireid.evaluation.pictures.style import SYNTHETIC

_ROOMY = 118  # letters of a line from which more columns are shown
_BRIEF = {"Rank 1": "R1", "mAP": "mAP"}
_PERCENT = "Scores in percent; labels: right ones among images whose persons were not told; ARI: of all images, told ones too."
_MORE = {"Rank 1": "R1", "Rank 10": "R10", "mAP": "mAP", "mINP": "mINP"}


def terminal(content: Content, width: int) -> Lines:
    """Lay a comparison out for a terminal; some columns are left to the other forms.

    Args:
        content: what is compared.
        width: letters of a line.
    """
    made: list[Table | Text] = [Text(content.warning, style="bold")] if content.warning else []
    for part in content.parts:
        made += [
            _title(part),
            _table(part, _MORE if width >= _ROOMY else _BRIEF),
            *(Text(f"  {said}") for said in _notes(part)),
        ]
    made += [Text(f"left out  {name}: {why}") for name, why in content.left.items()]
    return Lines(*made)


def _title(part: Part) -> Text:
    return Text(f"{SYNTHETIC + ': ' if part.synthetic else ''}{part.title}", style="bold")


def _table(part: Part, wanted: Mapping[str, str]) -> Table:
    shown = {name: short for name, short in wanted.items() if any(name in row.scores for row in part.rows)}
    labels = {ACCURACY: "labels", ARI: "ARI"}
    shown_labels = {
        name: short for name, short in labels.items() if any(name in row.labels for row in part.rows)
    }
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("method", overflow="fold")
    table.add_column("told", overflow="fold")
    for name in ("n", "epochs", *shown.values(), *shown_labels.values(), "s/epoch"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in part.rows:
        table.add_row(
            str(row.number),
            f"{row.title} *" if row.marks else row.title,
            row.facts["Persons known"],
            str(len(row.runs)),
            row.facts["Epochs"],
            *(_number(row.scores.get(name)) for name in shown),
            *(_number(row.labels.get(name)) for name in shown_labels),
            _number(row.seconds, 1),
        )
    return table


def _notes(part: Part) -> Iterator[str]:
    for row in part.rows:
        yield from (f"* {row.number} {row.name}: {mark}" for mark in row.marks)
    if any(len(row.runs) > 1 for row in part.rows):
        yield "Mean ± standard deviation of one run, over n runs. " + _PERCENT
    else:
        yield _PERCENT
    yield " ".join(part.words)


def markdown(content: Content) -> str:
    """Write a comparison as Markdown, every column."""
    lines = [content.warning, ""] if content.warning else []
    for part in content.parts:
        lines += _markdown(part)
    lines += [f"Left out: {name} ({why})." for name, why in content.left.items()]
    return "\n".join(lines).rstrip() + "\n"


def _markdown(part: Part) -> Iterator[str]:
    facts = list(part.rows[0].facts)
    scores = list(dict.fromkeys(name for row in part.rows for name in row.scores))
    labels = list(dict.fromkeys(name for row in part.rows for name in row.labels))
    head = ["", "Method", *facts, *scores, *labels, "Seconds of an epoch", "Runs"]
    yield f"**{'Synthetic: ' if part.synthetic else ''}{part.title}**"
    yield ""
    yield from (_line(head), _line(["---"] * len(head)))
    for row in part.rows:
        yield _line(
            [
                str(row.number),
                "; ".join([row.title, *row.marks]),
                *(row.facts[name] for name in facts),
                *(_number(row.scores.get(name)) for name in scores),
                *(_number(row.labels.get(name)) for name in labels),
                _number(row.seconds, 1),
                ", ".join(row.runs),
            ]
        )
    yield ""
    yield " ".join(part.words)
    yield ""


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _number(found: Number | None, times: float = 100.0) -> str:
    """Say a number and its deviation; empty where there is none."""
    if found is None:
        return ""
    deviation = "" if found.std is None else f" ± {times * found.std:.1f}"
    return f"{times * found.mean:.1f}{deviation}"
