"""``vireid evaluate features``: two files of features under a named protocol; no dataset folder, no model."""

from pathlib import Path
from typing import Annotated

import typer

from vireid.errors import EvaluationError
from vireid.evaluation import npz_case, options, report
from vireid.evaluation.album import of_folder
from vireid.evaluation.illustration import Illustration
from vireid.evaluation.measure import Case, measure
from vireid.evaluation.protocol import Protocol


def run(
    protocol: Annotated[
        str, typer.Option("--protocol", help="The named protocol; single options override it.")
    ],
    query: Annotated[str, typer.Option(metavar="FILE", help="An .npz file: what asks.")],
    gallery: Annotated[
        str,
        typer.Option(metavar="FILE", help="An .npz file: what is found; where images are drawn, the pool."),
    ],
    mode: options.Mode = None,
    shots: options.Shots = None,
    draw: options.DrawName = None,
    trials: options.Trials = None,
    trial: options.TrialNumber = None,
    rule: options.RuleName = None,
    cmc: options.Cmc = None,
    rerank: options.RerankName = None,
    k1: options.K1 = None,
    k2: options.K2 = None,
    weight: options.Weight = None,
    candidates: options.Candidates = None,
    ranks: options.Ranks = "1,5,10,20",
    permutations: options.Permutations = None,
    json_file: options.JsonFile = None,
    csv_file: options.CsvFile = None,
    html: options.HtmlFile = None,
    pictures: options.Pictures = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The folder the files' paths count from, for pictures of ranked lists."
        ),
    ] = None,
) -> None:
    """Report CMC, mAP and mINP of features in .npz files.

    Each file holds features (N, D), person (N,) and camera (N,), and where known modality (N,) (0 or visible,
    1 or infrared) and path (N,). With paths, rows are put in the order of the sorted paths; without, they are
    taken in the order they have, which draws and ties depend on.
    """
    chosen = options.protocol(
        protocol,
        None,
        trial,
        paths=(query, gallery),
        mode=mode,
        shots=shots,
        draw=draw,
        trials=trials,
        rule=rule,
        cmc=cmc,
        rerank=options.rerank(rerank, k1=k1, k2=k2, weight=weight, candidates=candidates),
    )
    if chosen.draw == "official" and permutations is None:
        raise EvaluationError(
            "the official draw of features in files needs --permutations FILE: rand_perm_cam.mat, from "
            "evaluation/data_split of the SYSU-MM01 authors' repository; or use --draw python"
        )

    album = None if images is None else of_folder(images)
    shown = Illustration(html, pictures, permutations, album)

    def make(part: Protocol) -> Case:
        paths = [Path(p.replace(options.SPLIT, str(part.trials[0]))) for p in (query, gallery)]
        return npz_case.of_files(paths[0], paths[1], part)

    measured = measure(chosen, make, options.ranks(ranks), permutations, shown.watch)
    typer.echo(report.table(measured.result))
    report.save(measured, json_file, csv_file)
    shown.save(measured)
