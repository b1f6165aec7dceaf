"""What an epoch's labels cost at the size of SYSU-MM01: CPU minutes and peak memory of each method's labelling stage.

    python benchmarks/labelling.py --quick --json labelling.json

Planted features take the place of the pass over the images, which is the same for all. Each stage runs in a process of its
own on one core, so that its peak is its own. CM-EMD's figure is that of the transport plans of an epoch's steps. Run it on a
machine with nothing else to do.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from learning.goal import Goal
from learning.verdict import chosen, give

ONCE = Path(__file__).parent / "learning" / "labelling_once.py"
METHODS = ("spcl", "otla", "dcl", "miot", "mult", "cm-emd")
VISIBLE, INFRARED = 22_258, 11_909
QUICK = 8  # times fewer images in a quick run
MOST_GB, MOST_MINUTES = 8.0, 10.0


def main(
    quick: Annotated[
        bool, typer.Option("--quick", help="An eighth of the images; under two minutes.")
    ] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    only: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(METHODS)}.")] = None,
) -> None:
    """Measure the labelling stages against their goals; exit 1 if one is missed."""
    share = QUICK if quick else 1
    found = [
        goal for name in chosen(only, METHODS) for goal in measured(name, VISIBLE // share, INFRARED // share)
    ]
    give("labelling", found, json_path, quick=quick)


def measured(name: str, visible: int, infrared: int) -> Iterable[Goal]:
    """Measure one method's stage in a process of its own.

    Yields:
        Its CPU minutes and its peak in GB.
    """
    command = [sys.executable, str(ONCE), name, str(visible), str(infrared)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout)
    told = ", ".join(f"{word} {value:.4g}" for word, value in figures["told"].items())
    detail = f"{visible} + {infrared} images: {figures['cpu_s']:.1f} CPU s; {told}"
    yield Goal.at_most(f"labelling_{name}_cpu_minutes", figures["cpu_s"] / 60, MOST_MINUTES, detail)
    yield Goal.at_most(f"labelling_{name}_peak_gb", figures["peak_gb"], MOST_GB, detail)


if __name__ == "__main__":
    typer.run(main)
