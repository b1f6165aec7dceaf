"""``vireid export default-bundle``: make, measure and allow the bundle that comes with vireid."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from export import default_bundle, evidence
from export.evidence import Evidence, Exam, Synthetic
from training.bridge import BridgeSettings
from vireid.datasets import open_dataset
from vireid.datasets.verify import detect

SETTINGS = BridgeSettings()

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def make_default_bundle(
    weights: Annotated[
        Path, typer.Option(metavar="DIR", help=f"The folder of {default_bundle.START}.xml and .bin.")
    ],
    real: Annotated[Path, typer.Option(metavar="DIR", help="Real visible crops with labels.csv.")],
    train: Annotated[
        list[Path], typer.Option(metavar="DIR", help="A drawn dataset to learn from; repeatable.")
    ],
    watch: Annotated[Path, typer.Option(metavar="DIR", help="A drawn dataset to choose the weights by.")],
    hold_out: Annotated[
        list[Path],
        typer.Option(metavar="DIR", help="A drawn dataset to measure on; repeatable, the first decides."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write the bundle; only measured if left out."),
    ] = None,
    rank: Annotated[
        int, typer.Option(min=0, help="Of the infrared adapters; 0 only centres the start.")
    ] = SETTINGS.rank,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = SETTINGS.steps,
    learning_rate: Annotated[float, typer.Option(help="At its top.")] = SETTINGS.learning_rate,
    temperature: Annotated[float, typer.Option(help="Of the contrastive losses.")] = SETTINGS.temperature,
    together: Annotated[float, typer.Option(help="Weight of infrared to infrared.")] = SETTINGS.together,
    keep: Annotated[float, typer.Option(help="Weight of the guard.")] = SETTINGS.keep,
    strength: Annotated[
        float, typer.Option(help="Share of what was taught that is kept.")
    ] = SETTINGS.strength,
    greyed: Annotated[float, typer.Option(help="Share of visible images shown in grey.")] = SETTINGS.greyed,
    seed: Annotated[int, typer.Option(help="Of batches and augmentation.")] = SETTINGS.seed,
    compiled: Annotated[
        bool,
        typer.Option("--compile/--no-compile", help="Compile first: twice as fast, needs a C++ compiler."),
    ] = True,
) -> None:
    """Make the bundle that comes with vireid, measure it beside its start, and write it if it may be that."""
    materials = default_bundle.Materials(
        weights=weights,
        train=tuple(open_dataset(detect(path), path) for path in train),
        watch=open_dataset(detect(watch), watch),
        exam=Exam(
            evidence.read_real(real, default_bundle.preprocess()),
            {path.name: default_bundle.gather([open_dataset(detect(path), path)]) for path in hold_out},
        ),
    )
    settings = replace(
        SETTINGS,
        rank=rank,
        steps=steps,
        learning_rate=learning_rate,
        temperature=temperature,
        together=together,
        keep=keep,
        greyed=greyed,
        strength=strength,
        seed=seed,
        compiled=compiled,
    )
    candidate = default_bundle.make(materials, settings if rank else None, _tell)
    for name, found in (("start", candidate.start), ("candidate", candidate.found)):
        typer.echo(f"{name:<10} {_row(found)}")
    for miss in evidence.shortfalls(candidate.start, candidate.found):
        typer.echo(f"misses     {miss}")
    if out is not None:
        written = default_bundle.write(candidate, materials, {}, out)
        typer.echo(f"wrote      {written} ({written.stat().st_size / 1e6:.2f} MB)")


def _tell(step: int, across: float) -> None:
    typer.echo(f"step {step:<5} watched: infrared to visible {across:.4f}")


def _row(found: Evidence) -> str:
    drawn = "; ".join(f"{name}: {_drawn(part)}" for name, part in found.synthetic.items())
    return f"real: visible {found.real_visible:.4f}, grey {found.real_grey:.4f}; {drawn}"


def _drawn(found: Synthetic) -> str:
    return (
        f"visible {found.visible:.4f}, infrared {found.infrared:.4f}, "
        f"across {found.across:.4f} (rank 1 {found.rank1:.4f})"
    )
