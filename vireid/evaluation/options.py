"""Options that several evaluation commands share, and what they mean together. Knows no dataset and no features."""

from pathlib import Path
from typing import Annotated

import typer

from vireid.errors import EvaluationError
from vireid.evaluation.protocol import Protocol, Rerank
from vireid.evaluation.protocols import MODES, PRESETS, choose, preset

SPLIT = "{split}"  # in a path: the number of the identity split
K_RECIPROCAL = "k-reciprocal"

PresetName = Annotated[
    str | None, typer.Option("--protocol", help=f"One of {', '.join(PRESETS)}; single options override it.")
]
Mode = Annotated[
    str | None, typer.Option(help="; ".join(f"{d}: {', '.join(words)}" for d, words in MODES.items()))
]
Shots = Annotated[int | None, typer.Option(help="SYSU-MM01: drawn per person and camera; 1.")]
DrawName = Annotated[
    str | None, typer.Option(help="SYSU-MM01: python, python-multi-shot or official; python.")
]
Trials = Annotated[int | None, typer.Option(help="SYSU-MM01, LLCM: how many draws; 10.")]
TrialNumber = Annotated[
    int | None,
    typer.Option(
        "--trial", help=f"RegDB: the identity split, 1 to 10; 1, or all ten where paths hold {SPLIT}."
    ),
]
RuleName = Annotated[
    str | None, typer.Option(help="What a query must not see: sysu, market or none; the dataset's own.")
]
Cmc = Annotated[str | None, typer.Option(help="Ranks count image or identity; the dataset's own.")]
RerankName = Annotated[str | None, typer.Option(help=f"none or {K_RECIPROCAL}; none.")]
K1 = Annotated[int | None, typer.Option(help="Re-ranking: neighbours that must be mutual; 20.")]
K2 = Annotated[int | None, typer.Option(help="Re-ranking: neighbours averaged over; 6.")]
Weight = Annotated[float | None, typer.Option(help="Re-ranking: share of the original distance; 0.3.")]
Candidates = Annotated[
    int | None, typer.Option(help="Re-ranking: how many of the best are re-ranked, 0 for all; 0.")
]
Ranks = Annotated[str, typer.Option(metavar="LIST", help="CMC ranks to report, any of them.")]
Permutations = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="The official draw's rand_perm_cam.mat; the one in the dataset's exp/."
    ),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the whole report there.")
]
CsvFile = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write one line per trial there.")
]

HtmlFile = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write a report to read there, in one file.")
]
Pictures = Annotated[
    Path | None, typer.Option("--pictures", metavar="DIR", help="Write the pictures there, as SVG and PNG.")
]


def rerank(name: str | None, **numbers: float | None) -> Rerank | None:
    """Return what ``--rerank`` and its numbers mean.

    Raises:
        EvaluationError: an unknown name, a number out of range, or numbers without re-ranking.
    """
    given = {key: value for key, value in numbers.items() if value is not None}
    if name == K_RECIPROCAL:
        return Rerank(**given)  # type: ignore[arg-type]  # the numbers come typed from the options
    if name not in (None, "none"):
        raise EvaluationError(f"rerank is one of none, {K_RECIPROCAL}, not {name!r}")
    if given:
        raise EvaluationError(
            f"{', '.join(given)} belongs to re-ranking, which is off; add --rerank {K_RECIPROCAL}"
        )
    return None


def ranks(words: str) -> tuple[int, ...]:
    """Read a list of ranks such as ``1,5,10,20``.

    Raises:
        EvaluationError: something else.
    """
    parts = [w.strip() for w in words.split(",")]
    if not all(w.isascii() and w.isdigit() and int(w) for w in parts):
        raise EvaluationError(f"ranks are whole numbers from 1 such as 1,5,10,20, not {words!r}")
    return tuple(dict.fromkeys(sorted(int(w) for w in parts)))


def protocol(
    name: str | None, dataset: str | None, trial: int | None, paths: tuple[str, ...], **options: object
) -> Protocol:
    """Return the protocol that is meant.

    Args:
        name: a preset, None for the dataset's usual one.
        dataset: the dataset's name, None where the preset alone says it.
        trial: RegDB's identity split; None means all of them where ``paths`` hold ``{split}``, else the first.
        paths: where features or models are.
        options: single choices; None keeps the preset's.

    Raises:
        EvaluationError: an unknown name, preset and dataset that do not go together, an option out of range,
            or all splits from one model.
    """
    if name is not None and name not in PRESETS:
        raise EvaluationError(f"protocol is one of {', '.join(PRESETS)}, not {name!r}")
    if name is not None and dataset not in (None, PRESETS[name][0]):
        raise EvaluationError(
            f"the protocol {name} is for {PRESETS[name][0]}, the dataset is {dataset}; name one of "
            f"{', '.join(p for p, (of, _) in PRESETS.items() if of == dataset) or 'its own'}"
        )
    many = any(SPLIT in path for path in paths)
    if trial is None and many:
        trial = 0
    if trial == 0 and not (paths and all(SPLIT in path for path in paths)):
        raise EvaluationError(
            f"all identity splits need a model for each: write {SPLIT} in every path of a bundle or features, "
            f"such as model-{SPLIT}.bundle.zip, or name one split with --trial"
        )
    given = {**options, "trial": trial}
    if name is not None:
        return preset(name, **given)  # type: ignore[arg-type]  # refused there by name and value
    if dataset is None:
        raise EvaluationError(f"name a protocol: one of {', '.join(PRESETS)}")
    return choose(dataset, **given)  # type: ignore[arg-type]
