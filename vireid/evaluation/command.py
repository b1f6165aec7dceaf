"""``vireid evaluate``: a bundle, or features made before, on a dataset under a named protocol; its subcommands."""

from pathlib import Path
from typing import Annotated

import typer

from vireid.bundle import SOURCE
from vireid.datasets import READERS, open_dataset
from vireid.datasets.verify import detect
from vireid.evaluation import calibrate_command, extract_command, features_command, npz_case, options, report
from vireid.evaluation.evaluate import plan
from vireid.evaluation.extract import extract
from vireid.evaluation.illustration import Illustration
from vireid.evaluation.measure import Case, measure, splits
from vireid.evaluation.model import open_model
from vireid.evaluation.protocol import Protocol

app = typer.Typer(add_completion=False, rich_markup_mode=None)
app.command("features")(features_command.run)
app.command("extract")(extract_command.run)
app.command("calibrate")(calibrate_command.run)


@app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The dataset's root folder.  [required]")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(READERS)}; found by the layout if left out.")
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A bundle; the packaged one if left out; 'fake' for a stand-in."),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Features that 'vireid evaluate extract' wrote, in place of a bundle."
        ),
    ] = None,
    protocol: options.PresetName = None,
    mode: options.Mode = None,
    shots: options.Shots = None,
    draw: options.DrawName = None,
    trials: options.Trials = None,
    trial: options.TrialNumber = None,
    rule: options.RuleName = None,
    cmc: options.Cmc = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Average each feature with that of the mirrored image.")
    ] = False,
    rerank: options.RerankName = None,
    k1: options.K1 = None,
    k2: options.K2 = None,
    weight: options.Weight = None,
    candidates: options.Candidates = None,
    ranks: options.Ranks = "1,5,10,20",
    permutations: options.Permutations = None,
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="One of the bundle's engines, proven or not.")
    ] = SOURCE,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    batch: Annotated[int, typer.Option(min=1, help="Images embedded at once.")] = 32,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one embedding call.")] = 1,
    json_file: options.JsonFile = None,
    csv_file: options.CsvFile = None,
    html: options.HtmlFile = None,
    pictures: options.Pictures = None,
) -> None:
    """Report CMC, mAP and mINP of a bundle on a dataset, by a protocol of the literature."""
    if context.invoked_subcommand is not None:
        if data is not None:
            raise typer.BadParameter(f"options go after {context.invoked_subcommand}, not before it")
        return
    if data is None:
        raise typer.BadParameter("Missing option '--data'.", ctx=context)
    if bundle is not None and features is not None:
        raise typer.BadParameter("give --bundle or --features, not both")
    if features is not None and engine != SOURCE:
        raise typer.BadParameter("give --engine with a bundle; features were made before")
    name = name or detect(data)
    chosen = options.protocol(
        protocol,
        name,
        trial,
        paths=(features or bundle or "",),
        mode=mode,
        shots=shots,
        draw=draw,
        trials=trials,
        rule=rule,
        cmc=cmc,
        flip="average" if flip else None,
        rerank=options.rerank(rerank, k1=k1, k2=k2, weight=weight, candidates=candidates),
    )
    datasets = {p: open_dataset(name, data, p.trials[0] if p.splits else 1) for p in splits(chosen)}
    for part, dataset in datasets.items():
        plan(dataset, part, permutations)  # what cannot be drawn is told before anything is embedded

    shown = Illustration(html, pictures, permutations)

    def make(part: Protocol) -> Case:
        place = None if (features or bundle) is None else str(features or bundle)
        place = place and place.replace(options.SPLIT, str(part.trials[0]))
        if features is not None:
            return npz_case.of_dataset(Path(str(place)), datasets[part])
        model = open_model(place, device, threads, engine)
        vectors = extract(model.engine, model.preprocess, datasets[part], batch, flip)
        return Case(
            datasets[part],
            vectors,
            "average" if flip else "none",
            model.name,
            model.sha256,
            model.engine.space_id,
        )

    measured = measure(chosen, make, options.ranks(ranks), permutations, shown.watch)
    typer.echo(report.table(measured.result))
    report.save(measured, json_file, csv_file)
    shown.save(measured)
