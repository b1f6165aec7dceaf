"""Checkpoints: everything a run needs to go on as if it had never stopped, in safetensors and JSON; never a pickle.

    RUN/recipe.json      the settings
    RUN/run.json         dataset, start, versions, commit
    RUN/last.safetensors weights, optimiser; what is not a tensor stands in its header
    RUN/best.safetensors the same of the best epoch, where the recipe chooses one
    RUN/metrics.jsonl    one line an epoch

Written to a temporary name, synced, renamed: the last good one survives whatever happens. No random state is kept:
every epoch begins all sources of chance anew, from the seed and its number.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from training import models, ranks
from training.models.network import Network
from training.settings import RunSettings
from vireid.errors import TrainingError

FORMAT = "1"
FILE = "last.safetensors"
BEST = "best.safetensors"
RECIPE = "recipe.json"
RUN = "run.json"
METRICS = "metrics.jsonl"
ROOTS = ("root", "source_root")  # what of a run's origin is this machine's alone
# of a line of metrics: what a clock measured, and no other run repeats
TIMES = ("seconds", "waited", "speed")


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
    run: Path,
    modules: nn.ModuleDict,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    method: str,
    *,
    best: bool = False,
) -> Path:
    """Write ``RUN/last.safetensors`` atomically.

    Args:
        run: folder of the run.
        modules: of the method.
        optimiser: over them.
        progress: where the run is.
        method: its name.
        best: write ``RUN/best.safetensors`` too, and first: a stop in between makes the epoch, and both, again.
    """
    tensors = {
        f"weights.{name}": value.detach().cpu().contiguous() for name, value in modules.state_dict().items()
    }
    slots, groups = _flat(optimiser)
    tensors |= slots
    header = {
        "format": FORMAT,
        "method": method,
        "progress": json.dumps({"epoch": progress.epoch, "step": progress.step}),
        "groups": json.dumps(groups),
        "processes": str(ranks.count()),
    }
    header["sum"] = _sum(header, tensors)
    made = save(tensors, header)
    for name in (BEST, FILE) if best else (FILE,):
        _write(run / name, made)
    return run / FILE


def _write(path: Path, made: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(made)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def restore(run: Path, modules: nn.ModuleDict, optimiser: torch.optim.Optimizer, method: str) -> Progress:
    """Read ``RUN/last.safetensors`` back into a method and its optimiser.

    Raises:
        TrainingError: it is missing, damaged, or of another method or shape.
    """
    header, tensors = _read(run / FILE)
    if header["method"] != method:  # the checksum has shown that the header is ours
        raise TrainingError(f"{run / FILE} is of method {header['method']!r}; this run is {method!r}")
    began = int(header.get("processes", "1"))
    if began != ranks.count():
        raise TrainingError(
            f"{run / FILE} is of {began} processes, and {ranks.count()} would go on: batch norm would see other "
            f"shares of a batch; resume with as many (torchrun --nproc-per-node {began})"
        )
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
    groups = json.loads(header["groups"])
    if len(groups) != len(own["param_groups"]) or any(
        set(saved) - set(group) for saved, group in zip(groups, own["param_groups"], strict=True)
    ):
        raise TrainingError(
            f"{run / FILE} is of another optimiser; resume with the recipe the run began with"
        )
    for group, saved in zip(own["param_groups"], groups, strict=True):
        group.update(saved)
    optimiser.load_state_dict(own)
    return Progress(**json.loads(header["progress"]))


def load_model(place: Path) -> Network:
    """Rebuild a trained network, in evaluation mode.

    Args:
        place: a run's folder.

    Raises:
        TrainingError: it is no run, or its checkpoint is missing or damaged.
    """
    network = models.build(load_settings(place).model)
    path = chosen(place)
    _, tensors = _read(path)
    start = "weights.model."
    weights = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
    _load(network, weights, path)
    return network.eval()


def chosen(run: Path) -> Path:
    """Return the checkpoint a run ends with: its last, or its best where its recipe chooses one.

    Raises:
        TrainingError: the folder is no run.
    """
    best = load_settings(run).select == "best_on_test" and (run / BEST).is_file()
    return run / (BEST if best else FILE)


def best(run: Path) -> float | None:
    """Return the highest score by which an epoch was chosen so far; None if there was none.

    Raises:
        TrainingError: the run's metrics are damaged.
    """
    scores = [line["selected"]["value"] for line in read_metrics(run) if "selected" in line]
    return max(scores, default=None)


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


def load_origin(run: Path) -> dict[str, Any]:
    """Read what a run began with: dataset, root, number of images, versions, commit.

    Raises:
        TrainingError: it is missing or damaged.
    """
    path = run / RUN
    try:
        told = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise TrainingError(f"{run} is no training run: it holds no {RUN}") from None
    except ValueError as error:
        raise TrainingError(f"{path} is damaged: {error}") from None
    missing = {"dataset", "root", "train_images"} - set(told if isinstance(told, dict) else ())
    if missing:
        raise TrainingError(f"{path} is damaged: it lacks {', '.join(sorted(missing))}")
    origin: dict[str, Any] = told
    return origin


def epochs_done(run: Path) -> int:
    """Tell how many epochs a run has finished, whichever of them it ends with.

    Raises:
        TrainingError: its last checkpoint is missing or damaged.
    """
    header, _ = _read(run / FILE)
    return int(json.loads(header["progress"])["epoch"])


def provenance(run: Path) -> dict[str, Any]:
    """Tell where a run's network comes from: dataset, recipe (with its seed), start, versions, commit, progress.

    Names no path of this machine: it travels with the network.

    Raises:
        TrainingError: the run is damaged or has no checkpoint.
    """
    path = chosen(run)
    header, _ = _read(path)
    told = {name: value for name, value in load_origin(run).items() if name not in ROOTS}
    return {
        **told,
        "recipe": json.loads((run / RECIPE).read_text()),
        "progress": json.loads(header["progress"]),
        "checkpoint_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def metrics(run: Path) -> dict[str, Any]:
    """Return the evaluation of the checkpoint a run ends with, its protocol in words; empty if there was none.

    Raises:
        TrainingError: the run's metrics are damaged.
    """
    scored = [line for line in read_metrics(run) if "evaluation" in line]
    taken = [line for line in scored if line.get("selected", {}).get("best")]
    found: dict[str, Any] = (taken or scored)[-1]["evaluation"] if scored else {}
    return found


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's metrics; a last one that was cut off while it was written is left out.

    Raises:
        TrainingError: another line is damaged.
    """
    path = run / METRICS
    texts = path.read_text().splitlines(keepends=True) if path.is_file() else []
    if texts and not texts[-1].endswith("\n"):
        texts.pop()
    lines: list[dict[str, Any]] = []
    for number, text in enumerate(texts, start=1):
        try:
            lines.append(json.loads(text))
        except ValueError as error:
            raise TrainingError(
                f"{path} is damaged in line {number}: {error}; expected a JSON object; remove the line"
            ) from None
    return lines


def cut_metrics(run: Path, epoch: int) -> None:
    """Forget the lines of epochs after the checkpoint's: they will be made again."""
    kept = [line for line in read_metrics(run) if line["epoch"] <= epoch]
    part = run / f".{METRICS}.part"
    part.write_text("".join(json.dumps(line) + "\n" for line in kept))
    part.replace(run / METRICS)


def preprocessing(run: Path) -> dict[str, Any]:
    """Return what a bundle must say of preprocessing: size, mean and deviation."""
    wanted = load_settings(run).model
    pixels = models.normalisation(wanted.name)
    return {"height": wanted.height, "width": wanted.columns, "mean": pixels.mean, "std": pixels.std}


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
    if header.get("sum") != _sum(header, tensors):
        raise TrainingError(f"{path} does not match its checksum; start again from an earlier copy")
    return header, tensors


def _sum(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """Return a checksum over everything a checkpoint holds."""
    said = {name: value for name, value in header.items() if name != "sum"}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
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
