"""Checkpoints: everything a run needs to go on as if it had never stopped, in safetensors and JSON; never a pickle.

    RUN/recipe.json      the settings
    RUN/run.json         dataset, versions, commit
    RUN/last.safetensors weights, optimiser, random states; what is not a tensor stands in its header
    RUN/metrics.jsonl    one line an epoch

Written to a temporary name, synced, renamed: the last good one survives whatever happens.
"""

import hashlib
import json
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from training import models
from training.models.two_stream import MEAN, STD, TwoStream
from training.settings import RunSettings
from vireid.errors import TrainingError

FORMAT = "1"
FILE = "last.safetensors"
RECIPE = "recipe.json"
RUN = "run.json"
METRICS = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is.

    Attributes:
        epoch: epochs finished.
        step: optimiser steps made.
    """

    epoch: int = 0
    step: int = 0


def save_checkpoint(
    run: Path, modules: nn.ModuleDict, optimiser: torch.optim.Optimizer, progress: Progress, method: str
) -> Path:
    """Write ``RUN/last.safetensors`` atomically."""
    tensors = {
        f"weights.{name}": value.detach().cpu().contiguous() for name, value in modules.state_dict().items()
    }
    slots, groups = _flat(optimiser)
    tensors |= slots
    tensors["random.torch"] = torch.get_rng_state()
    numbers: Any = np.random.get_state(legacy=True)  # noqa: NPY002 - the global one is saved too
    state = random.getstate()
    tensors["random.numpy"] = torch.from_numpy(np.asarray(numbers[1]).astype(np.int64))
    tensors["random.python"] = torch.tensor(state[1], dtype=torch.int64)
    header = {
        "format": FORMAT,
        "method": method,
        "progress": json.dumps({"epoch": progress.epoch, "step": progress.step}),
        "groups": json.dumps(groups),
        "random": json.dumps({"numpy_place": int(numbers[2]), "python": [state[0], state[2]]}),
    }
    header["sum"] = _sum(tensors)
    path = run / FILE
    part = run / f".{FILE}.part"
    with part.open("wb") as file:
        file.write(save(tensors, header))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return path


def restore(run: Path, modules: nn.ModuleDict, optimiser: torch.optim.Optimizer, method: str) -> Progress:
    """Read ``RUN/last.safetensors`` back into a method and its optimiser.

    Raises:
        TrainingError: it is missing, damaged, or of another method or shape.
    """
    header, tensors = _read(run / FILE)
    if header["method"] != method:
        raise TrainingError(f"{run / FILE} is of method {header['method']!r}; this run is {method!r}")
    weights = {
        name.removeprefix("weights."): value for name, value in tensors.items() if name.startswith("weights.")
    }
    _load(modules, weights, run / FILE)
    own = optimiser.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, number, key = name.split(".", 2)
            state.setdefault(int(number), {})[key] = value
    own["state"] = state
    for group, saved in zip(own["param_groups"], json.loads(header["groups"]), strict=True):
        group.update(saved)
    optimiser.load_state_dict(own)
    kept = json.loads(header["random"])
    torch.set_rng_state(tensors["random.torch"])
    keys = tensors["random.numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, kept["numpy_place"], 0, 0.0))  # noqa: NPY002 - as saved
    version, gauss = kept["python"]
    random.setstate((version, tuple(tensors["random.python"].tolist()), gauss))
    return Progress(**json.loads(header["progress"]))


def load_model(place: Path) -> TwoStream:
    """Rebuild a trained network, in evaluation mode.

    Args:
        place: a run's folder.

    Raises:
        TrainingError: it is no run, or its checkpoint is missing or damaged.
    """
    network = models.build(load_settings(place).model)
    _, tensors = _read(place / FILE)
    start = "weights.model."
    weights = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
    _load(network, weights, place / FILE)
    return network.eval()


def load_settings(run: Path) -> RunSettings:
    """Read the settings a run was started with.

    Raises:
        TrainingError: the folder is no run.
    """
    path = run / RECIPE
    if not path.is_file():
        raise TrainingError(
            f"{run} is no training run: it holds no {RECIPE}; name a folder that 'vireid train' wrote"
        )
    try:
        return RunSettings.model_validate_json(path.read_bytes())
    except ValueError as error:
        raise TrainingError(f"{path} is damaged: {error}") from None


def provenance(run: Path) -> dict[str, Any]:
    """Tell where a run's network comes from: dataset, recipe, seed, commit, progress."""
    header, _ = _read(run / FILE)
    told: dict[str, Any] = json.loads((run / RUN).read_text())
    return {
        **told,
        "recipe": json.loads((run / RECIPE).read_text()),
        "progress": json.loads(header["progress"]),
        "checkpoint_sha256": hashlib.sha256((run / FILE).read_bytes()).hexdigest(),
    }


def metrics(run: Path) -> dict[str, Any]:
    """Return the last evaluation of a run, with its protocol in words; empty if there was none."""
    path = run / METRICS
    if not path.is_file():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    found: dict[str, Any] = next((line["evaluation"] for line in reversed(lines) if "evaluation" in line), {})
    return found


def preprocessing(run: Path) -> dict[str, Any]:
    """Return what a bundle must say of preprocessing: size, mean and deviation."""
    wanted = load_settings(run).model
    return {"height": wanted.height, "width": wanted.columns, "mean": MEAN, "std": STD}


def _flat(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    state = optimiser.state_dict()
    slots = {
        f"optimiser.{number}.{key}": torch.as_tensor(value).detach().cpu().contiguous()
        for number, slot in state["state"].items()
        for key, value in slot.items()
        if value is not None
    }
    groups = [
        {key: value for key, value in group.items() if key != "params" and not isinstance(value, Tensor)}
        for group in state["param_groups"]
    ]
    return slots, groups


def _read(path: Path) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    if not path.is_file():
        raise TrainingError(f"there is no checkpoint {path}; was the run stopped in its first epoch?")
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise TrainingError(f"{path} is damaged or no checkpoint: {error}") from None
    if header.get("format") != FORMAT:
        raise TrainingError(f"{path} has checkpoint format {header.get('format')!r}; expected {FORMAT!r}")
    if header.get("sum") != _sum(tensors):
        raise TrainingError(f"{path} does not match its checksum; start again from an earlier copy")
    return header, tensors


def _sum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _load(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise TrainingError(f"{path} holds another network than the recipe describes: {error}") from None
