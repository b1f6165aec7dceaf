"""What training costs, against its goals: transport, Jaccard distances, a step, waiting for data.

    python benchmarks/training.py --quick --json training.json

Each part is a file in ``learning/`` that yields goals; ratios are between what ran in turns in one run. Run it on a
machine with nothing else to do.
"""

import importlib
import sys
from collections.abc import Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Annotated

import typer
from learning.goal import Goal
from learning.verdict import chosen, give

PARTS = ("sinkhorn", "jaccard", "step")


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Under two minutes.")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    only: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(PARTS)}.")] = None,
) -> None:
    """Measure training against its goals; exit 1 if one is missed."""
    found = [goal for part in chosen(only, PARTS) for goal in measured(part, quick)]
    give("training", found, json_path, quick=quick)


def measured(part: str, quick: bool) -> Iterable[Goal]:
    """Measure one part."""
    goals: Iterable[Goal] = importlib.import_module(f"learning.{part}").goals(quick)
    return goals


def stand_aside() -> None:
    """Put the package that has this script's name into its place, where a file of this folder imports it."""
    place = Path(__file__).parents[1] / "training"
    spec = spec_from_file_location("training", place / "__init__.py", submodule_search_locations=[str(place)])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["training"] = package = module_from_spec(spec)
    spec.loader.exec_module(package)


if __name__ == "__main__":
    typer.run(main)
else:
    stand_aside()
