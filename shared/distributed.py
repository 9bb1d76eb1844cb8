"""Several processes that train one model, as torchrun starts them; without torchrun, one.

torchrun --nproc-per-node 2 cli.py train-cifar
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

RANK = int(os.environ.get("RANK", "0"))  # which of the processes this is
WORLD_SIZE = int(os.environ.get("WORLD_SIZE", "1"))  # how many there are


@contextmanager
def together(device: torch.device, logdir: Path) -> Iterator[tuple[torch.device, Path]]:
    """Join the other processes; yield this one's device and log folder.

    Each process has a GPU of its own where there are GPUs. Only what the first one writes is kept.
    """
    if WORLD_SIZE == 1:
        yield device, logdir
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    with tempfile.TemporaryDirectory() as thrown_away:
        yield device, Path(thrown_away) if RANK else logdir
    distributed.destroy_process_group()


@contextmanager
def first_alone() -> Iterator[None]:
    """Let the first process do what is inside before the others, which then find it done."""
    if WORLD_SIZE > 1 and RANK > 0:
        distributed.barrier()
    yield
    if WORLD_SIZE > 1 and RANK == 0:
        distributed.barrier()


def parallel(model: nn.Module) -> nn.Module:
    """The model, but its gradients are averaged over all processes in backward()."""
    return DistributedDataParallel(model) if WORLD_SIZE > 1 else model


def share(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """This process's part of a batch (N, ...); of a batch too small for all, its first image."""
    part = slice(RANK, None, WORLD_SIZE) if len(labels) > RANK else slice(1)
    return images[part], labels[part]


def total(value: Tensor) -> float:
    """The sum of a number over all processes."""
    if WORLD_SIZE > 1:
        distributed.all_reduce(value)
    return value.item()
