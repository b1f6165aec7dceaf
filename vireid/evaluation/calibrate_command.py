"""``vireid evaluate calibrate``: a bundle and people it was not trained on in, the bundle with calibrated scores out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vireid import bundle as bundles
from vireid.datasets import READERS, open_dataset
from vireid.datasets.split import Dataset, Split
from vireid.datasets.verify import detect
from vireid.engines import open_engine
from vireid.evaluation import provenance, report
from vireid.evaluation.calibrate import LIST, calibrate
from vireid.evaluation.extract import embed
from vireid.evaluation.trial_searches import SPLITS, People


def run(
    data: Annotated[Path, typer.Option(metavar="DIR", help="The dataset's root folder.")],
    out: Annotated[
        Path, typer.Option(metavar="PATH", help="Where the calibrated bundle goes; .zip or a folder.")
    ],
    name: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(READERS)}; found by the layout if left out.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A bundle; the packaged one if left out.")
    ] = None,
    people: Annotated[
        Literal["test", "all"],
        typer.Option(help="all: those of the training part too; only for a model that never saw them."),
    ] = "test",
    trial: Annotated[int, typer.Option(help="RegDB: the identity split, 1 to 10.")] = 1,
    splits: Annotated[
        int, typer.Option(min=1, max=100, help="How often the people are split in halves.")
    ] = SPLITS,
    seed: Annotated[int, typer.Option(min=0, help="Of the splits.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    batch: Annotated[int, typer.Option(min=1, help="Images embedded at once.")] = 32,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one embedding call.")] = 1,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the calibration alone there, too.")
    ] = None,
) -> None:
    """Learn what a bundle's scores mean: the probability of a hit, the threshold for a false-alarm rate."""
    dataset = open_dataset(name or detect(data), data, trial)
    opened = bundles.open_named(bundle)
    chosen = pool(dataset, people == "all")
    engine = open_engine(opened, device, threads)
    vectors = embed(engine, opened.preprocess, chosen, batch)
    embedded = People(vectors, chosen.persons, chosen.cameras, chosen.modalities)
    source = {
        "dataset": dataset.name,
        "synthetic": dataset.synthetic,
        "part": people,
        "people": len(set(chosen.persons.tolist())),
        "images": len(chosen),
        "images_sha256": provenance.image_list(chosen, dataset.root).sha256,
        "space_id": opened.space_id,
        "splits": splits,
        "seed": seed,
        "code": provenance.code(),
    }
    calibration = calibrate(embedded, source, splits, seed)
    for pair in calibration.pairs:
        typer.echo(str(pair))
        typer.echo(_reliability(pair.reliability))
    for line in calibration.source["left_out"]:
        typer.echo(f"left out: {line}")
    bundles.calibrated(opened, calibration, out)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(report.to_json(calibration.model_dump(mode="json")), encoding="utf-8")
    typer.echo(
        f"{out}: {opened.manifest.name}, calibrated" + (" on SYNTHETIC images" if dataset.synthetic else "")
    )


def pool(dataset: Dataset, everybody: bool) -> Split:
    """Return the images to calibrate on: those of the test people, or of all, each once."""
    samples = dataset.query.samples + dataset.gallery.samples
    if everybody:
        samples += dataset.train.samples
    return Split("people", tuple(dict.fromkeys(samples)))


def _reliability(found: Mapping[str, Any]) -> str:
    error = found["calibration_error"]
    alarms = "; ".join(
        f"{100 * a['asked']:g} % asked, {100 * a['found']['mean']:.2g} % found "
        f"({100 * a['found']['least']:.2g} to {100 * a['found']['most']:.2g})"
        for a in found["false_alarms"]
    )
    return (
        f"  on people it was not fitted on ({found['checks']} checks on {found['people']:.0f} people): calibration error "
        f"{error[str(LIST)]['mean']:.3f} on lists of {LIST} ({error[str(LIST)]['least']:.3f} to {error[str(LIST)]['most']:.3f}), "
        f"{error['1']['mean']:.3f} on first hits; {100 * found['share_right']:.0f} % of the hits are right; area under ROC "
        f"{found['area_under_roc']:.3f}; Brier {found['brier']:.3f}, of the average {found['brier_of_the_average']:.3f}\n"
        f"  false alarms: {alarms}"
    )
