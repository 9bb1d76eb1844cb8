"""Batches: a DataLoader by hand.

A network learns in steps, and each step looks at a batch: some dozens of a
Dataset's items, stacked into one tensor. A DataLoader makes the batches.
It puts the indices in order, for training in a new random order each time,
cuts them into groups of batch_size, gets the items, and stacks them.
    batches = len(dataset) // batch_size, and a short one if some are left

    python cli.py dataloader-demo --step
"""

from collections.abc import Iterable, Iterator
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from shared import console
from shared.board import board
from shared.datasets.embedded import digits, photo_digits
from shared.datasets.image_set import Batch, ImageSet
from shared.fresh_python import run_program
from shared.options import LOGS, BatchSize, LogDir, Seed
from shared.workers import by_workers

WORDS = {
    "batch": "N items, stacked into one tensor such as (N, C, H, W)",
    "epoch": "one round through a Dataset, batch by batch",
    "shuffle": "to take the items in a random order, another each epoch",
    "worker": "a process that makes batches while your program goes on",
    "collate": "to make one batch of a list of items",
    "pinned memory": "memory from which a GPU can copy while the CPU goes on",
}
Most = Annotated[int, typer.Option(min=0, max=16, help="The most to try.")]
TEN = [(torch.tensor([i, 10 * i]), i) for i in range(10)]  # it has [] and len


# ---- By hand ----------------------------------------------------------------
def collate(items: list[tuple[Tensor, int]]) -> Batch:
    """A list of N items as one batch: images (N, ...) and labels (N,)."""
    images, labels = zip(*items, strict=True)
    return torch.stack(images), torch.tensor(labels)


def batches(
    dataset: Dataset,
    batch_size: int,
    generator: torch.Generator | None = None,
    drop_last: bool = False,
) -> Iterator[Batch]:
    """One epoch; with a generator of random numbers it is shuffled."""
    order = torch.arange(len(dataset))
    if generator:
        # DataLoader draws a number first, for the random numbers of workers
        torch.empty((), dtype=torch.int64).random_(generator=generator)
        order = torch.randperm(len(dataset), generator=generator)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size].tolist()
        if drop_last and len(chosen) < batch_size:
            break
        yield collate([dataset[index] for index in chosen])


# ---- Mistakes ---------------------------------------------------------------
def wrong_order(by_class: Dataset, test_set: TensorDataset) -> str:
    """The items lie class by class. An epoch ends with nines only, and the
    network says 9 to nearly all. 35 of the 297 are nines: 12 %."""
    return five_networks(DataLoader(by_class, batch_size=64), test_set)


def right_order(by_class: Dataset, test_set: TensorDataset) -> str:
    """shuffle=True, in training. Class folders come class by class, too."""
    loader = DataLoader(by_class, batch_size=64, shuffle=True)
    return five_networks(loader, test_set)


def wrong_step(one_left: Dataset, test_set: TensorDataset) -> str:
    """The last batch is one image: 1,409 = 22 * 64 + 1. Its step is made for
    that image alone, and undoes much of what the others did."""
    loader = DataLoader(one_left, batch_size=64, shuffle=True)
    return five_networks(loader, test_set)


def right_step(one_left: Dataset, test_set: TensorDataset) -> str:
    """drop_last=True, in training. No image is lost: the next epoch, shuffled
    anew, leaves out another. In testing each image counts: keep it False."""
    loader = DataLoader(one_left, batch_size=64, shuffle=True, drop_last=True)
    return five_networks(loader, test_set)


def wrong_mean() -> str:
    """8 of 10 are right, that is 0.80. The two of the short last batch weigh as
    much as four others: (1 + 1 + 0) / 3."""
    right = torch.tensor([1.0, 1, 1, 1, 1, 1, 1, 1, 0, 0])
    means = [batch.mean() for batch in DataLoader(right, batch_size=4)]
    return f"{sum(means) / len(means):.2f}"


def right_mean() -> str:
    """add up over the items, and divide by their number once, at the end."""
    right = torch.tensor([1.0, 1, 1, 1, 1, 1, 1, 1, 0, 0])
    sums = [batch.sum() for batch in DataLoader(right, batch_size=4)]
    return f"{sum(sums) / len(right):.2f}"


def wrong_file() -> str:
    """The worker ended. One that is spawned, as on Windows and macOS, is a new
    Python that reads this file first; it may not start a worker as it does."""
    return run_program("""
        from torch.utils.data import DataLoader
        spawn = {"num_workers": 1, "multiprocessing_context": "spawn"}
        print([*DataLoader(range(8), batch_size=4, **spawn)])""")


def right_file() -> str:
    """put what uses the loader under this if: in a worker it is not true."""
    return run_program("""
        from torch.utils.data import DataLoader
        if __name__ == "__main__":
            spawn = {"num_workers": 1, "multiprocessing_context": "spawn"}
            print([*DataLoader(range(8), batch_size=4, **spawn)])""")


def five_networks(loader: DataLoader, test_set: TensorDataset) -> str:
    shares = [f"{100 * learn(loader, test_set, s):.0f}" for s in range(5)]
    return f"{', '.join(shares)} % of the test set are right, for five seeds"


def learn(loader: DataLoader, test_set: TensorDataset, seed: int) -> float:
    torch.manual_seed(seed)  # for the network's start, and for shuffling
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(3):  # epochs
        for images, labels in loader:
            loss = F.cross_entropy(model(images), labels)  # how wrong is it?
            optimizer.zero_grad()
            loss.backward()  # the gradient of the loss
            optimizer.step()  # against it, so that this batch goes better
    images, labels = test_set.tensors
    return (model(images).argmax(1) == labels).float().mean().item()


# ---- The lesson -------------------------------------------------------------
def joined(loader: Iterable[Batch], part: int = 0) -> Tensor:
    return torch.cat([batch[part] for batch in loader])  # 0: images, 1: labels


def show_paper_case(seed: int) -> None:
    console.section("A case for paper: items 0 to 9 in batches of 4")
    console.ask("How many batches? And 10,000 images in batches of 64?")
    console.code(collate, batches)
    chance = torch.Generator()
    for name, generator in {"in order": None, "shuffled": chance}.items():
        chance.manual_seed(seed)
        ours = [*batches(TEN, 4, generator)]
        groups = [" ".join(map(str, labels.tolist())) for _, labels in ours]
        console.say(f"{name}: {' | '.join(groups)}")
        chance.manual_seed(seed)  # the same random numbers again
        theirs = DataLoader(TEN, 4, name == "shuffled", generator=chance)
        console.agrees("batches = DataLoader", joined(ours), joined(theirs), 0)


def show_images(train: ImageSet, size: int, seed: int) -> dict[str, Tensor]:
    console.section("10,000 images: two epochs, in order and shuffled")
    chance = torch.Generator().manual_seed(seed)
    in_order = DataLoader(train, size)
    shuffled = DataLoader(train, size, shuffle=True, generator=chance)
    first = {}
    for name, loader in {"in_order": in_order, "shuffled": shuffled}.items():
        for epoch in (1, 2):
            images, labels = next(iter(loader))  # iter begins a new epoch
            first[f"{name}/epoch_{epoch}"] = images[:64]
            begin = " ".join(map(str, labels[:16].tolist()))
            console.say(f"{name}, epoch {epoch}: labels {begin} ...")
    console.say(
        f"10,000 = {len(train) // size} * {size} + {len(train) % size}: "
        f"{len(in_order)} batches, the last of {len([*in_order][-1][1])}."
    )
    chance.manual_seed(seed)
    ours = joined(batches(train, size, chance), 1)
    chance.manual_seed(seed)
    console.agrees("batches = DataLoader, labels", ours, joined(shuffled, 1), 0)
    return first


def show_workers(train: ImageSet, most: int) -> None:
    console.section("Workers: time to the first batch, then images a second")
    console.ask("How many workers: for images in memory? For files to open?")
    rows, fastest = by_workers(train, most)
    console.table(["workers", "images in memory", "from a file"], rows)
    console.say(
        'Slowest to fastest of three epochs. Fastest, with "or" where they '
        f"overlap: {fastest[0]} workers in memory, {fastest[1]} from a file, "
        "which is opened for each image. A worker must send its batch to you: "
        "that pays if making it takes longer, and a core is free. With a GPU, "
        "pin_memory=True puts batches into pinned memory."
    )


def run(
    batch_size: BatchSize = 64,
    workers: Most = 4,
    seed: Seed = 0,
    logdir: LogDir = LOGS,
) -> None:
    """Cut a Dataset into batches, as DataLoader does."""
    console.opening(__doc__)
    console.words(WORDS)
    show_paper_case(seed)
    train, _ = photo_digits()
    first = show_images(train, batch_size, seed)
    show_workers(train, workers)
    console.section("A small network, to try mistakes on")
    console.say("Later lessons explain it. Here: each batch makes one step.")
    console.code(learn)
    train, test = (images.in_rows() for images in digits(8))
    by_class = Subset(train, train.tensors[1][:1408].argsort(stable=True))
    given = {"by_class": by_class, "one_left": Subset(train, range(1409))}
    console.mistakes(__name__, raises=RuntimeError, test_set=test, **given)
    console.remember(
        "import torch; from torch.utils.data import DataLoader, TensorDataset",
        "dataset = TensorDataset(torch.rand(100, 3, 8, 8), torch.arange(100))",
        "loader = DataLoader(dataset, 64, shuffle=True, drop_last=True)",
    )
    console.say(
        "Exercise: write a collate that puts zeros behind short rows. Of three "
        "DataLoader(rows, 3, collate_fn=collate) then makes what torch.nn."
        "utils.rnn.pad_sequence(rows, batch_first=True) makes."
    )
    with board("dataloader-demo", logdir, "IMAGES: all four") as writer:
        for tag, images in first.items():
            writer.add_images(tag, images)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
