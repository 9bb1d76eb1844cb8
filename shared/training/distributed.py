"""Several processes that train one model, as torchrun starts them.

Without torchrun there is one. With it, for example:

torchrun --nproc-per-node 2 cli.py train-cifar
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, distributed, nn
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

RANK = int(os.environ.get("RANK", "0"))  # which of the processes this is
WORLD_SIZE = int(os.environ.get("WORLD_SIZE", "1"))  # how many there are


@contextmanager
def together(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes; yield the device of this one.

    Where there are GPUs, that is one of its own.
    """
    if WORLD_SIZE == 1:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield device
    distributed.destroy_process_group()


@contextmanager
def place(
    logdir: Path, folder: Path | None
) -> Iterator[tuple[Path, Path | None]]:
    """Where to write: a run's folder, or a new one in logdir.

    Only the first process's is kept.
    """
    if RANK:
        with TemporaryDirectory() as nowhere:
            yield Path(nowhere), None
    else:
        yield folder.resolve().parent.parent if folder else logdir, folder


@contextmanager
def first_alone() -> Iterator[None]:
    """Let the first process do what is inside before the others.

    They then find it done.
    """
    if WORLD_SIZE > 1 and RANK > 0:
        distributed.barrier()
    yield
    if WORLD_SIZE > 1 and RANK == 0:
        distributed.barrier()


def part(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, float]:
    """This process's part of a batch (N, ...), and its share of the batch.

    A batch too small for all: its first example, with the share 0, so that it
    doesn't count twice.
    """
    mine = slice(RANK, None, WORLD_SIZE)
    share = len(labels[mine]) / len(labels)
    mine = mine if share else slice(1)
    return inputs[mine], labels[mine], share


def parallel(model: nn.Module, share: Callable[[], float]) -> nn.Module:
    """The model itself or, with several processes, PyTorch's DDP around it.

    While backward() goes on, DDP adds up the gradients that are done, over all
    processes. By itself it takes their mean, as if each had as many examples.
    Here each is weighted by share(), this process's share of the batch: the
    sum is the gradient of the whole batch. Batch norm sees each share alone,
    so with it the weights are not those of one process.
    """
    if WORLD_SIZE == 1:
        return model

    def weighted(_: None, bucket: distributed.GradBucket) -> Future[Tensor]:
        gradients = bucket.buffer().mul_(share())
        summed = distributed.all_reduce(gradients, async_op=True).get_future()
        return summed.then(lambda done: done.value()[0])

    with warnings.catch_warnings():
        # newer versions call it forward_sync_buffers
        warnings.simplefilter("ignore", FutureWarning)
        replica = DistributedDataParallel(model, broadcast_buffers=False)
    replica.register_comm_hook(None, weighted)
    return replica


def total(value: Tensor) -> float:
    """The sum of a number over all processes."""
    if WORLD_SIZE > 1:
        distributed.all_reduce(value)
    return value.item()
