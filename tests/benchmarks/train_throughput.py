"""How fast train-cifar's loop is beside a plain one.

    python -m tests.benchmarks.train_throughput --data DIR

The plain one decodes every image in every epoch. The network, the batch size
and the images are the same in both; they take turns, and the median ratio
counts.
"""

import time
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

from lessons.train_cifar import train
from shared.console import console, table
from shared.datasets.image_folder import image_folder
from shared.datasets.image_set import ImageSet
from shared.device import bf16_in_hardware, pick_autocast
from shared.models import CifarNet, normalized
from shared.options import DATA

BATCH_SIZE = 64
CPU = torch.device("cpu")


def plain(images: Subset) -> float:
    """Images a second of the plain loop.

    PIL opens each item, and ToTensor converts it.
    """
    model = CifarNet(10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    started = time.perf_counter()
    for batch, labels in DataLoader(images, BATCH_SIZE, shuffle=True):
        loss = F.cross_entropy(model(batch), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return len(images) / (time.perf_counter() - started)


class Bare:
    """A training of one epoch that keeps nothing.

    So only the lesson's loop is measured.
    """

    def __init__(self, precision: str) -> None:
        self.autocast = pick_autocast(CPU, precision)

    def parallel(self, model: nn.Module) -> nn.Module:
        return model

    def epochs(self) -> range:
        return range(1)

    def batches(self, images: ImageSet, epoch: int) -> DataLoader:
        return images.batches(BATCH_SIZE, torch.Generator().manual_seed(0))

    def track(self, loss: Tensor) -> None:
        pass

    end_epoch = dict


def ours(images: ImageSet, precision: str) -> float:
    """Images a second of train-cifar's own loop."""
    model = normalized(CifarNet(10), images.images)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    started = time.perf_counter()
    train(Bare(precision), model, optimizer, images, images.limited(1))
    return len(images) / (time.perf_counter() - started)


def main(
    data: Annotated[
        Path, typer.Option(help="An image folder with train/ and test/.")
    ],
    images: Annotated[
        int, typer.Option(min=BATCH_SIZE, help="Images in each turn.")
    ] = 6400,
    turns: Annotated[
        int, typer.Option(min=1, help="How often each loop has its turn.")
    ] = 5,
) -> None:
    """Print images a second of both loops, and the ratio."""
    folder = ImageFolder(data / "train", ToTensor())
    chance = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(folder), generator=chance)[:images]
    decoded = image_folder(data, DATA / "cache")[0].limited(images)
    contenders = ["float32"] + (["bf16"] if bf16_in_hardware("cpu") else [])
    names = ["plain", *contenders]
    speeds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(turns):
        speeds["plain"].append(plain(Subset(folder, chosen.tolist())))
        for name in contenders:
            speeds[name].append(ours(decoded, name))
    rows = []
    for name, measured in speeds.items():
        pairs = zip(measured, speeds["plain"], strict=True)
        ratios = [one / other for one, other in pairs]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        speed, ratio = f"{median(measured):,.0f}", f"{median(ratios):.2f}"
        rows.append((name, speed, ratio, spread))
    threads = torch.get_num_threads()
    console.print(f"{images:,} images, {turns} turns, {threads} threads")
    table(["loop", "images/s", "ratio", "spread"], rows)


if __name__ == "__main__":
    typer.run(main)
