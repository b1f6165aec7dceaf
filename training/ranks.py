"""Processes that train together, started by torchrun. One process alone is the usual case and loads none of it.

Every process has a copy of the network and its share of every batch; gradients are averaged. What must be the same
everywhere (labels, memories) is made from rows that were gathered from all of them. Knows no method.
"""

import gc
import inspect
import os
import socket
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, distributed, nn

from vireid import settings
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import TrainingError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LONGEST_MARK = 64  # bytes of a fingerprint that processes compare


class _Count(BaseModel):
    """What the launcher puts into the environment: ``WORLD_SIZE``, ``LOCAL_WORLD_SIZE``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: int = 1


class _Launch(BaseModel):
    """What torchrun puts there besides: ``TORCHELASTIC_RUN_ID``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str = "none"


class _Restart(BaseModel):
    """And ``TORCHELASTIC_RESTART_COUNT``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    count: int = 0


def together() -> bool:
    """Whether several processes train."""
    return distributed.is_available() and distributed.is_initialized()


def count() -> int:
    """Return how many processes train."""
    return distributed.get_world_size() if together() else 1


def place() -> int:
    """Return which of them this is, from 0; the first writes."""
    return distributed.get_rank() if together() else 0


def gather(rows: Tensor, parts: int = 1) -> Tensor:
    """Return the rows of all processes, in their order; the same on each.

    Args:
        rows: of this one, (n, ...); n may differ if there is one part.
        parts: that the rows fall into, all of one length; the first of all processes, then the second of all, and so
            on: with ``Batch.parts`` the rows of a batch stand as they would in one process.
    """
    if not together():
        return rows
    home, own = rows.device, rows.detach().to(_device()).contiguous()
    sizes = [torch.zeros(1, dtype=torch.int64, device=own.device) for _ in range(count())]
    distributed.all_gather(sizes, torch.tensor([len(own)], device=own.device))
    longest = int(max(int(size) for size in sizes))
    padded = own.new_zeros((longest, *own.shape[1:]))
    padded[: len(own)] = own
    made = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(made, padded)
    found = [one[: int(size)] for one, size in zip(made, sizes, strict=True)]
    if parts == 1:
        return torch.cat(found).to(home)
    return torch.stack([one.view(parts, -1, *one.shape[1:]) for one in found], 1).flatten(0, 2).to(home)


def share(index: Int64Array) -> Int64Array:
    """Return this process's part of a pass over images; ``joined`` puts the parts together again."""
    return np.array_split(index, count())[place()]


def joined(rows: Float32Array) -> Float32Array:
    """Return what all processes made of their shares, in order."""
    return gather(torch.from_numpy(rows)).numpy() if together() else rows


def of_first(rows: Float32Array) -> Float32Array:
    """Return the first process's rows: what all made alike may still differ in its last bits."""
    if not together():
        return rows
    sent = torch.from_numpy(rows).to(_device()).contiguous()
    distributed.broadcast(sent, 0)
    return sent.cpu().numpy()


def average(values: Iterable[Tensor]) -> None:
    """Put the mean over all processes into each tensor."""
    if together():
        for value in values:
            distributed.all_reduce(value)
            value /= count()


def averaged(values: Tensor) -> Tensor:
    """Return the mean over all processes of what lies in memory here."""
    if not together():
        return values
    sent = values.to(_device())
    average([sent])
    return sent.to(values.device)


def words(own: list[str]) -> list[list[str]]:
    """Return the words of all processes, in their order."""
    if not together():
        return [own]
    found: list[list[str]] = [[] for _ in range(count())]
    distributed.all_gather_object(found, own)
    return found


def agree(what: str, mark: str) -> None:
    """See that all processes hold the same.

    Args:
        what: in words.
        mark: its fingerprint, hexadecimal.

    Raises:
        TrainingError: they do not.
    """
    if not together():
        return
    own = torch.frombuffer(bytearray(mark.encode().ljust(LONGEST_MARK)[:LONGEST_MARK]), dtype=torch.uint8)
    if len(torch.unique(gather(own[None]), dim=0)) > 1:
        raise TrainingError(
            f"{what} differ between the {count()} processes; a method must make them from gathered rows "
            "and from chance that its settings seed"
        )


def wait() -> None:
    """Go on when all processes have come this far."""
    if together():
        distributed.barrier()


def leave() -> None:
    """End the processes' connection, if there is one, when all have come this far.

    Not after an error: the others may wait for what never comes, and torchrun ends them.
    """
    if together():
        wait()
        # what is wrapped holds the connection, whose threads may ask for Python when Python ends
        gc.collect()
        distributed.destroy_process_group()


class Ranks:
    """How gradients are made: by one process, or by several through Lightning Fabric.

    Args:
        device: where this process works.
        fabric: of the processes; None for one alone.
    """

    def __init__(self, device: torch.device, fabric: "Fabric | None" = None) -> None:
        self.device = device
        self._fabric = fabric

    def wrap(self, module: nn.Module) -> nn.Module:
        """Prepare a module whose ``forward`` makes the loss."""
        return module if self._fabric is None else self._fabric.setup_module(module)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of what a wrapped module made."""
        if self._fabric is None:
            loss.backward()  # type: ignore[no-untyped-call]
            return
        self._fabric.backward(loss)

    def holding(self, module: nn.Module, *, share: bool) -> AbstractContextManager[None]:
        """Return the context in which a module runs forward and backward.

        Args:
            module: from ``wrap``.
            share: average what was added up over the processes; not before the last batch of a step.
        """
        if self._fabric is None or share:
            return nullcontext()
        return self._fabric.no_backward_sync(module)  # type: ignore[arg-type]


def chosen(word: str) -> torch.device:
    """Find the device; nothing is started.

    Args:
        word: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        TrainingError: no such device.
    """
    if word not in {"auto", "cpu", "cuda"}:
        raise TrainingError(f"device is auto, cpu or cuda, not {word!r}")
    if word == "cuda" and not torch.cuda.is_available():
        raise TrainingError("cuda was asked for, and torch finds none; install a driver, or ask for the cpu")
    return torch.device("cuda" if word != "cpu" and torch.cuda.is_available() else "cpu")


def join(word: str) -> Ranks:
    """Find the device, and the other processes if torchrun started some.

    Args:
        word: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        TrainingError: no such device, or there are several processes and Lightning Fabric is missing or the others do
            not answer.
    """
    kind = chosen(word).type
    world = settings.load(_Count, prefix="WORLD_").size if distributed.is_torchelastic_launched() else 1
    if world == 1:
        return Ranks(torch.device(kind))
    fabric = _fabric(kind, world, settings.load(_Count, prefix="LOCAL_WORLD_").size)
    return Ranks(fabric.device, fabric)


def launch() -> str:
    """Name the launch that started this process: the same for whatever torchrun starts again; empty without torchrun."""
    if not distributed.is_torchelastic_launched():
        return ""
    named = settings.load(_Launch, prefix="TORCHELASTIC_RUN_").id
    # a launch without a name of its own is known by the process that watches over its workers
    return f"{socket.gethostname()} {os.getppid()}" if named == "none" else named


def restarts() -> int:
    """Count how often torchrun has begun all processes again."""
    return settings.load(_Restart, prefix="TORCHELASTIC_RESTART_").count


def _fabric(kind: str, world: int, local: int) -> "Fabric":
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ModuleNotFoundError:
        raise TrainingError(
            f"{world} processes need Lightning Fabric, which is not installed; run: pip install lightning-fabric"
        ) from None
    # a loss may leave parameters out for a while; running statistics are averaged once an epoch, not copied at each step
    known = inspect.signature(nn.parallel.DistributedDataParallel.__init__).parameters
    copied: dict[str, Any] = {
        "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False
    }
    strategy = DDPStrategy(find_unused_parameters=True, **copied)
    fabric = Fabric(accelerator=kind, devices=local, num_nodes=world // local, strategy=strategy)
    try:
        fabric.launch()
    except RuntimeError as error:
        # after a refusal torchrun begins all again, and whoever refuses first leaves the others alone
        raise TrainingError(
            f"one of {world} processes did not find the others ({str(error).splitlines()[0].strip()}); one may have ended "
            "already: its message stands above"
        ) from None
    return fabric


def _device() -> torch.device:
    on_gpu = distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
