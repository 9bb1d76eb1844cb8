"""How many images a second a DataLoader gets, by its number of workers."""

import os
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from shared.datasets.embedded import photograph


class PictureFile(Dataset[tuple[Tensor, int]]):
    """A picture file, opened and shrunk anew for each of so many items."""

    def __init__(self, path: Path, length: int) -> None:
        self.path, self.length = path, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.path) as picture:
            small = picture.convert("RGB").resize((32, 32))
        return torch.from_numpy(np.array(small)).permute(2, 0, 1), index


class Speed(NamedTuple):
    first: float  # seconds to the first batch, with the workers' start
    slowest: float  # images a second, two digits, of some epochs after that
    fastest: float

    def __str__(self) -> str:
        rates = f"{self.slowest:,.0f} to {self.fastest:,.0f}"
        return f"{self.first:.2f} s, then {rates}"


def speed(
    images: Dataset, batch_size: int, workers: int, epochs: int = 3
) -> Speed:
    """Measure a DataLoader whose workers, if any, stay for all epochs."""
    stay = {"num_workers": workers, "persistent_workers": workers > 0}
    with warnings.catch_warnings():  # of more workers than cores
        warnings.filterwarnings("ignore", "This DataLoader will create")
        loader = DataLoader(images, batch_size, **stay)
        start = time.perf_counter()
        batches = iter(loader)
        next(batches)
        first = time.perf_counter() - start
    for _ in batches:  # the rest of the epoch
        pass
    rates = []
    for _ in range(epochs):
        start = time.perf_counter()
        for _ in loader:
            pass
        rate = len(images) / (time.perf_counter() - start)
        rates.append(float(f"{rate:.1e}"))
    return Speed(first, min(rates), max(rates))


def by_workers(
    images: Dataset, most: int
) -> tuple[list[tuple[int, Speed, Speed]], str]:
    """The speed with 0, 1, 2, 4, ... workers, at most so many.

    First with images that are in memory, in batches of 64, then with a picture
    file of 320 x 213 pixels, in batches of 16. Returns a table's rows, and in
    words which numbers of workers no other one beats in all epochs.
    """
    counts = [count for count in (0, 1, 2, 4, 8, 16) if count <= most]
    some = Subset(images, range(2560))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "photograph.jpg"
        pixels = (photograph("flower") * 255).byte().permute(1, 2, 0)
        Image.fromarray(pixels.numpy()).resize((320, 213)).save(path)
        file = PictureFile(path, 128)
        rows = [(n, speed(some, 64, n), speed(file, 16, n)) for n in counts]
    memory, opened = (_unbeaten({r[0]: r[k] for r in rows}) for k in (1, 2))
    return rows, (
        f'Fastest on {os.cpu_count()} cores, with "or" where they overlap: '
        f"{memory} workers in memory, {opened} from a file, opened each time."
    )


def _unbeaten(speeds: dict[int, Speed]) -> str:
    bar = max(speed.slowest for speed in speeds.values())
    return " or ".join(str(n) for n, s in speeds.items() if s.fastest >= bar)
