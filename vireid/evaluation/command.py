"""``vireid evaluate``: a bundle on a dataset, under a named protocol."""

import json
from pathlib import Path
from typing import Annotated

import typer

from vireid import bundle as bundles
from vireid.datasets import READERS, open_dataset
from vireid.datasets.verify import detect
from vireid.engines import Engine, open_engine
from vireid.engines.fake import FakeEngine
from vireid.evaluation.evaluate import REPORTED_RANKS, Average, Result, evaluate, plan
from vireid.evaluation.extract import extract
from vireid.evaluation.protocols import MODES, choose
from vireid.images.preprocess import Preprocess

DEFAULT, FAKE = "default", "fake"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def run(
    data: Annotated[Path, typer.Option(metavar="DIR", help="The dataset's root folder.")],
    name: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(READERS)}; found by the layout if left out.")
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A bundle; the packaged one if left out; 'fake' for a stand-in."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="; ".join(f"{d}: {', '.join(words)}" for d, words in MODES.items()))
    ] = None,
    shots: Annotated[int | None, typer.Option(help="SYSU-MM01: drawn per person and camera; 1.")] = None,
    draw: Annotated[str | None, typer.Option(help="SYSU-MM01: python or official; python.")] = None,
    trials: Annotated[int | None, typer.Option(help="SYSU-MM01, LLCM: how many draws; 10.")] = None,
    trial: Annotated[int | None, typer.Option(help="RegDB: the identity split, 1 to 10; 1.")] = None,
    cmc: Annotated[str | None, typer.Option(help="RegDB: ranks count image or identity; image.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    batch: Annotated[int, typer.Option(min=1, help="Images embedded at once.")] = 32,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one embedding call.")] = 1,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every trial there.")
    ] = None,
) -> None:
    """Report CMC, mAP and mINP of a bundle on a dataset, by a protocol of the literature."""
    name = name or detect(data)
    protocol = choose(name, mode=mode, shots=shots, draw=draw, trials=trials, trial=trial, cmc=cmc)
    dataset = open_dataset(name, data, trial or 1)
    plan(dataset, protocol)  # what cannot be drawn is told before anything is embedded
    engine, preprocess, source = _open(bundle, device, threads)
    result = evaluate(extract(engine, preprocess, dataset, batch), dataset, protocol)
    typer.echo(table(result))
    if json_file is not None:
        about = {"bundle": source, "space_id": engine.space_id, "data": str(data)}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps({**about, **result.to_json()}, indent=2) + "\n")


def table(result: Result) -> str:
    """Return a result as lines of percents."""
    names = [*(f"R{r}" for r in REPORTED_RANKS), "mAP", "mINP"]
    lines = [
        ("SYNTHETIC IMAGES: " if result.synthetic else "") + str(result.protocol),
        f"{'trial':>7} {'queries':>8} {'valid':>7} {'gallery':>8} " + " ".join(f"{n:>6}" for n in names),
    ]
    for t in result.trials:
        s = t.scores
        counts = f"{t.number:>7} {s.n_query:>8} {s.n_valid:>7} {t.n_gallery:>8} "
        lines.append(counts + _percents(Average(s.cmc, s.mean_ap, s.mean_inp)))
    if len(result.trials) > 1:
        lines.append(f"{'mean':>7} {'':>8} {'':>7} {'':>8} " + _percents(result.mean))
        lines.append(f"{'std':>7} {'':>8} {'':>7} {'':>8} " + _percents(result.std))
    return "\n".join(lines)


def _percents(average: Average) -> str:
    values = [*(average.cmc[r - 1] for r in REPORTED_RANKS), average.mean_ap, average.mean_inp]
    return " ".join(f"{100 * v:6.2f}" for v in values)


def _open(bundle: str | None, device: str, threads: int) -> tuple[Engine, Preprocess, str]:
    """Return the engine, what its images need, and the bundle's name."""
    if bundle == FAKE:
        engine = FakeEngine()
        return engine, Preprocess(*engine.input_size), FAKE
    opened = bundles.read(bundles.default_path() if bundle in (None, DEFAULT) else Path(str(bundle)))
    return open_engine(opened, device, threads), opened.preprocess, opened.manifest.name
