"""One labelling stage in a process of its own: ``labelling_once.py METHOD VISIBLE INFRARED``.

The method is made over a network that only says how wide it is, and labels the training images of one epoch from planted
features, as its own ``begin_epoch`` does after the pass over the images. A small problem warms it up, as loops are compiled
then; it is held to one core. CPU seconds and peak memory, features among it, are told as JSON. CM-EMD has no stage: what is
told is the plans of one step, forward, and as many of them as an epoch has steps.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl
import torch
from planted import DIM, PEOPLE, Planted, plant
from torch import Tensor, nn

from training import losses, methods
from training.method import Known
from training.method_settings import SETTINGS
from training.models.network import Embedded
from training.settings import RunSettings

SETTLED = 100  # an epoch in which every method's labelling is at its fullest; even
SHARP = 18.0  # of the answers of OTLA's classifier: cosines times it
WARM = 20  # people of the small problem
STEPS = 30  # of CM-EMD
BATCH = (8, 4)  # its identities and images of each modality


class Wide(nn.Module):
    """Stands for a network in what methods ask of it before a step."""

    def __init__(self) -> None:
        super().__init__()
        self.dim, self.level_dim = DIM, DIM
        self.nothing = nn.Parameter(torch.zeros(1))


class Given:
    """Stands for the pass over the images: what it would compute is there already."""

    def __init__(self, features: np.ndarray, settings: RunSettings) -> None:
        self._features, self.settings = features, settings

    def embeddings(self) -> np.ndarray:
        """Return the features."""
        return self._features

    def rows(self, compute: Any, index: np.ndarray | None = None) -> np.ndarray:
        """Compute something of the features, a few at a time."""
        wanted = np.arange(len(self._features)) if index is None else index
        made = []
        with torch.inference_mode():
            for part in np.array_split(wanted, max(1, len(wanted) // 64)):
                seen = torch.from_numpy(self._features[part])
                made.append(compute(Embedded(seen, seen)).float().numpy())
        return np.concatenate(made)


def label(name: str, planted: Planted) -> Mapping[str, float]:
    """Run a method's labelling stage once; return what it tells."""
    wanted: Any = SETTINGS[name]()
    settings = RunSettings.model_validate({"data": {"persons": 12, "images": 12}, "method": {"name": name}})
    known_to_it = methods.METHODS[name].told(wanted)
    persons = np.where(np.isin(planted.modality, [int(kind) for kind in known_to_it]), planted.persons, -1)
    count = len(persons)
    known = Known(persons, planted.modality, np.zeros(count, np.int64), np.zeros(count, np.bool_))
    method = methods.METHODS[name].build(Wide(), known, wanted)  # type: ignore[arg-type]
    if "classifier" in method.modules:
        _teach(method.modules["classifier"], planted)
    look: Any = Given(planted.features, settings)
    # SpCL fills its memory in the first epoch
    return method.begin_epoch(0 if name == "spcl" else SETTLED, look).told


def _teach(classifier: nn.Module, planted: Planted) -> None:
    """Let OTLA's classifier know the visible people."""
    visible = planted.modality == 0
    sums = torch.zeros(int(planted.persons.max()) + 1, DIM)
    sums.index_add_(
        0, torch.from_numpy(planted.persons[visible]), torch.from_numpy(planted.features[visible])
    )
    with torch.no_grad():
        classifier.weight.copy_(SHARP * nn.functional.normalize(sums))


def plans(steps: int) -> None:
    """Compute the transport of some of CM-EMD's steps: seven heads of a batch."""
    random = torch.Generator().manual_seed(0)
    persons, images = BATCH
    labels = torch.arange(persons).repeat_interleave(images).repeat(2)
    modality = torch.arange(2).repeat_interleave(persons * images)
    for _ in range(steps):
        stripes: Tensor = torch.randn(6, len(labels), 256, generator=random)
        losses.earth_movers(stripes, labels, modality)
        losses.earth_movers(torch.randn(len(labels), DIM, generator=random), labels, modality)


def _peak_gb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6


def _run(name: str, visible: int, infrared: int) -> dict[str, Any]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    if name == "cm-emd":
        plans(1)
        began = time.process_time()
        plans(STEPS)
        a_step = (time.process_time() - began) / STEPS
        steps = visible // (BATCH[0] * BATCH[1])
        return {
            "cpu_s": a_step * steps,
            "peak_gb": _peak_gb(),
            "told": {"steps": steps, "step_ms": 1e3 * a_step},
        }
    label(name, plant(WARM * 50, WARM * 30, WARM))
    planted = plant(visible, infrared, min(PEOPLE, infrared // 30))
    began = time.process_time()
    told = label(name, planted)
    return {"cpu_s": time.process_time() - began, "peak_gb": _peak_gb(), "told": dict(told)}


if __name__ == "__main__":
    with threadpoolctl.threadpool_limits(1):
        print(json.dumps(_run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
