"""What training costs, against its goals: transport, Jaccard distances, a step, waiting for data.

    python benchmarks/training.py --quick --json training.json

Each part is a file in ``learning/`` that yields goals; ratios are between what ran in turns in one run. Run it on a
machine with nothing else to do.
"""

import importlib
import json
import os
import platform
import sys
from collections.abc import Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Annotated

import torch
import typer
from learning.goal import Goal

from clients import machine

PARTS = ("sinkhorn", "jaccard", "step")


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Under two minutes.")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    only: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(PARTS)}.")] = None,
) -> None:
    """Measure training against its goals; exit 1 if one is missed."""
    unknown = sorted(set(only or ()) - set(PARTS))
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(PARTS)}")
    found = [goal for part in only or PARTS for goal in measured(part, quick)]
    document = {
        "benchmark": "training", "quick": quick, "cpu": machine.describe()["cpu"], "load": os.getloadavg()[0],
        "torch": torch.__version__, "python": platform.python_version(),
        "goals": [
            {"name": goal.name, "ratio": goal.ratio, "goal": goal.goal, "outcome": goal.outcome, "detail": goal.detail}
            for goal in found
        ],
    }  # fmt: skip
    for word in ("cpu", "load", "torch", "python"):
        print(f"{word:8} {document[word]}")
    for goal in found:
        print(f"{'':8} {goal.name}: {goal.detail}")
    for goal in found:
        print(goal.line())
    if json_path is not None:
        json_path.write_text(json.dumps(document, indent=2) + "\n")
    raise SystemExit(1 if any(goal.outcome == "miss" for goal in found) else 0)


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
