"""Runs that torchrun begins again after one of its processes died: it repeats the command, and the command finds its run.

A launch marks the folder it begins a run in, so that nobody else's run is taken for its own. Knows no stages.
"""

import json
from pathlib import Path

from training import ranks

MARK = "launch.json"


def claim(folder: Path) -> None:
    """Mark a folder as begun by this launch; nothing happens where torchrun has no part in it."""
    if ranks.launch() and ranks.place() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).write_text(json.dumps({"launch": ranks.launch()}) + "\n")


def own(folder: Path) -> bool:
    """Whether this is a launch that was begun again, and began what is in a folder."""
    if not (ranks.launch() and ranks.restarts()):
        return False
    try:
        told = json.loads((folder / MARK).read_bytes())
    except (OSError, ValueError):  # no mark, or one that was being written: then nothing else is there
        return False
    return bool(told == {"launch": ranks.launch()})
