"""How fast train-cifar's loop is beside a plain one that decodes every image in every epoch.

    python -m tests.benchmarks.train_throughput --data DIR

The same network, batch size and images in both; they take turns, and the median ratio counts.
"""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torch.utils.tensorboard import SummaryWriter
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

from lessons.train_cifar import build, train_epoch
from shared.console import console, table
from shared.device import bf16_in_hardware, pick_autocast
from shared.image_folder import image_folder
from shared.models import CifarNet
from shared.options import DATA

BATCH_SIZE = 64
CPU = torch.device("cpu")


def plain(images: Subset) -> float:
    """Images a second of the plain loop: PIL opens each item, ToTensor converts it."""
    model = CifarNet(10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    started = time.perf_counter()
    for batch, labels in DataLoader(images, BATCH_SIZE, shuffle=True):
        loss = F.cross_entropy(model(batch), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return len(images) / (time.perf_counter() - started)


def ours(images, precision: str) -> float:
    """Images a second of train-cifar's own train_epoch."""
    model = build(images, "none", seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loader = images.batches(BATCH_SIZE, torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
        autocast = pick_autocast(CPU, precision)
        started = time.perf_counter()
        train_epoch(model, loader, optimizer, autocast, writer, 0, lambda count: None)
        return len(images) / (time.perf_counter() - started)


def main(
    data: Annotated[Path, typer.Option(help="An image folder with train/ and test/.")],
    images: Annotated[int, typer.Option(min=BATCH_SIZE, help="Images in each turn.")] = 6400,
    turns: Annotated[int, typer.Option(min=1, help="How often each loop has its turn.")] = 5,
) -> None:
    """Print images a second of both loops, and the ratio."""
    folder = ImageFolder(data / "train", ToTensor())
    chosen = torch.randperm(len(folder), generator=torch.Generator().manual_seed(0))[:images]
    decoded = image_folder(data, DATA / "cache")[0].limited(images)
    contenders = ["float32"] + (["bf16"] if bf16_in_hardware("cpu") else [])
    speeds: dict[str, list[float]] = {name: [] for name in ["plain", *contenders]}
    for _ in range(turns):
        speeds["plain"].append(plain(Subset(folder, chosen.tolist())))
        for name in contenders:
            speeds[name].append(ours(decoded, name))
    rows = []
    for name, measured in speeds.items():
        ratios = [one / other for one, other in zip(measured, speeds["plain"], strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        rows.append((name, f"{median(measured):,.0f}", f"{median(ratios):.2f}", spread))
    console.print(f"{images:,} images, {turns} turns, {torch.get_num_threads()} threads")
    table(["loop", "images/s", "ratio", "spread"], rows)


if __name__ == "__main__":
    typer.run(main)
