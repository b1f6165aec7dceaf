"""``vireid data synth``: draw a synthetic dataset."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from vireid import progress
from vireid.datasets.synthetic.draw import crops_in
from vireid.datasets.synthetic.layout import draw_dataset
from vireid.datasets.synthetic.presets import PRESETS, preset

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def synth(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    name: Annotated[str, typer.Option("--preset", help=f"One of {', '.join(PRESETS)}.")] = "sysu-like",
    people: Annotated[int, typer.Option(help="How many people.")] = 60,
    images_per_camera: Annotated[
        int | None, typer.Option(help="Of each person in each camera; the preset's own number if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same bytes.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes; the bytes do not depend on it.")] = 2,
) -> None:
    """Draw pedestrians in two modalities, in the layout of SYSU-MM01, LLCM or RegDB."""
    chosen = preset(name)
    images = chosen.images if images_per_camera is None else images_per_camera
    total = crops_in(chosen, max(people, 0), max(images, 0))
    with progress.bar("drawing", total=total) as advance, _stoppable(advance) as step:
        draw_dataset(root, name, people, images, seed=seed, workers=workers, advance=step)
    typer.echo(
        f"{root}: {people} people, {crops_in(chosen, people, images)} crops, in the layout of {chosen.layout}"
    )


@contextmanager
def _stoppable(advance: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """End between two crops on Ctrl-C or SIGTERM, so that half a dataset is taken away.

    Not at once: what is raised in the middle of a compiled loop comes out of it as another error. A second signal acts
    as it did before.
    """
    asked: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        signal.signal(number, before[signal.Signals(number)])

    def step(steps: int) -> None:
        advance(steps)
        if asked:
            raise SystemExit(128 + asked[0])

    for number in before:
        signal.signal(number, ask)
    try:
        yield step
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
