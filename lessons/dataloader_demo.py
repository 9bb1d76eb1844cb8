"""Batches: a DataLoader by hand.

A program learns in steps, and each step looks at a batch: some dozens of a
Dataset's items, stacked into one tensor. A DataLoader makes the batches.
It lists the indices, for training in a new random order each epoch, cuts
the list into groups of batch_size, gets their items, and stacks these.
    batches = len(dataset) // batch_size, and a short one if some are left

    python cli.py dataloader-demo --step
"""

from collections.abc import Iterable, Iterator
from typing import Annotated

import torch
import typer
from torch import Generator, Tensor
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
Most = Annotated[int, typer.Option(min=0, max=16, help="At most so many.")]
TEN = [(torch.tensor([i, 10 * i]), i) for i in range(10)]  # it has [] and len


# ---- By hand ----------------------------------------------------------------
def collate(items: list[tuple[Tensor, int]]) -> Batch:
    """A list of N items as one batch: images (N, ...) and labels (N,)."""
    images, labels = zip(*items, strict=True)
    return torch.stack(images), torch.tensor(labels)


def batches(
    dataset: Dataset, batch_size: int, generator: Generator | None = None
) -> Iterator[Batch]:
    """One epoch; with a generator of random numbers it is shuffled."""
    order = torch.arange(len(dataset))
    if generator:
        # DataLoader draws one number first, for its workers' own chance
        torch.empty((), dtype=torch.int64).random_(generator=generator)
        order = torch.randperm(len(dataset), generator=generator)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size].tolist()
        yield collate([dataset[index] for index in chosen])


def learn(loader: DataLoader, test_set: TensorDataset, seed: int) -> int:
    """Learn from a loader for three epochs; % of the test set then right."""
    torch.manual_seed(seed)  # decides how the loader shuffles
    weights = torch.zeros(64, 10, requires_grad=True)  # (pixels, classes)
    for _ in range(3):  # epochs
        for images, labels in loader:  # (N, 64) and (N,)
            scores = images @ weights  # (N, 10): sums of pixel * weight
            wanted = torch.eye(10)[labels]  # 1 at the label, 0 elsewhere
            ((scores - wanted) ** 2).mean().backward()
            with torch.no_grad():  # a step, as in autograd-demo
                weights -= 0.5 * weights.grad
            weights.grad = None
    images, labels = test_set[:]
    right = (images @ weights).argmax(1) == labels  # is the top score there?
    return round(100 * right.float().mean().item())


# ---- Mistakes ---------------------------------------------------------------
def wrong_order(by_class: Dataset, test_set: TensorDataset) -> list[int]:
    """The last steps saw nines only. It now says 9 to nearly every image, and
    35 of the 297 are nines: 12 %. Without chance, all five runs are alike."""
    loader = DataLoader(by_class, batch_size=64)
    return [learn(loader, test_set, seed) for seed in range(5)]


def right_order(by_class: Dataset, test_set: TensorDataset) -> list[int]:
    """shuffle=True, in training. ImageFolder lists class after class, too."""
    loader = DataLoader(by_class, batch_size=64, shuffle=True)
    return [learn(loader, test_set, seed) for seed in range(5)]


def wrong_step(mixed: Dataset, test_set: TensorDataset) -> list[int]:
    """The last batch is one image: 1,409 = 22 * 64 + 1. Its step is made for
    that image alone. Before the last of them, over 90 % were right."""
    loader = DataLoader(mixed, batch_size=64, shuffle=True)
    return [learn(loader, test_set, seed) for seed in range(5)]


def right_step(mixed: Dataset, test_set: TensorDataset) -> list[int]:
    """drop_last=True, in training. Each epoch, shuffled anew, leaves out one
    image by chance. In testing every image counts: keep it False there. Of
    fewer items than batch_size it makes 0 batches, and no error."""
    loader = DataLoader(mixed, batch_size=64, shuffle=True, drop_last=True)
    return [learn(loader, test_set, seed) for seed in range(5)]


def wrong_file() -> str:
    """The file runs twice. A spawned worker, as on Windows and macOS, is a new
    Python that runs your file first. There it may start no worker; the error
    that says so, "An attempt has been made ...", stands further up."""
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


# ---- The lesson -------------------------------------------------------------
def parts(loader: Iterable[Batch]) -> dict[str, Tensor]:
    """The images (0) and labels (1) of every batch n."""
    return {f"{n} {k}": b[k] for n, b in enumerate(loader) for k in (0, 1)}


def show_paper_case(seed: int) -> None:
    console.section("A case for paper: items 0 to 9 in batches of 4")
    console.say("Item i: an image of two numbers and a label, ([i, 10 i], i).")
    console.ask("How many batches? And 10,000 images in batches of 64?")
    console.code(collate, batches)
    chance = Generator()
    for name, generator in {"in order": None, "shuffled": chance}.items():
        chance.manual_seed(seed)
        ours = [*batches(TEN, 4, generator)]
        labels, last = [y.tolist() for _, y in ours], ours[-1][0].tolist()
        console.say(f"{name}: labels {labels}; the last images {last}")
        chance.manual_seed(seed)  # the same random numbers again
        theirs = DataLoader(TEN, 4, name == "shuffled", generator=chance)
        console.agrees("batches = DataLoader", parts(ours), parts(theirs), 0)
    console.say(
        "10 = 2 * 4 + 2: 3 batches. Differences are 0: items only move."
    )
    console.ask("In order: the mean label of each batch? The mean of those?")
    means = [y.float().mean().item() for _, y in batches(TEN, 4)]
    console.say(
        f"In order, the batches' means are {means}; their mean is "
        f"{sum(means) / 3:.2f}. The mean of all ten is 45 / 10 = 4.5. The two "
        "of the short batch weighed as much as four others. So add up over "
        "all items, and divide by their number once, at the end."
    )


def show_images(train: ImageSet, size: int, seed: int) -> dict[str, Tensor]:
    console.section("10,000 handwritten digits: in order, and shuffled")
    chance = Generator().manual_seed(seed)
    in_order = DataLoader(train, size)
    shuffled = DataLoader(train, size, shuffle=True, generator=chance)
    first = {}
    for name, loader in {"in_order": in_order, "shuffled": shuffled}.items():
        for epoch in (1, 2):
            images, labels = next(iter(loader))  # iter begins a new epoch
            first[f"{name}/epoch_{epoch}"] = images[:64]
            console.say(f"{name}, epoch {epoch}: labels {labels[:16].tolist()}")
    console.say(
        "In order, each epoch is the same; shuffled, each is another. 10,000 = "
        f"{len(train) // size} * {size} + {len(train) % size}. Batches: "
        f"{len(in_order)}, the last of {len([*in_order][-1][1])}."
    )
    ours = parts(batches(train, size, Generator().manual_seed(seed)))
    chance.manual_seed(seed)
    console.agrees("all batches, shuffled", ours, parts(shuffled), 0)
    return first


def show_workers(train: ImageSet, most: int) -> None:
    console.section("Workers: time to the first batch, then images a second")
    console.ask("How many workers: for images in memory? For files to open?")
    rows, fastest = by_workers(train, most)
    console.table(["workers", "memory, 64 a batch", "file, 16 a batch"], rows)
    console.say(
        f"Slowest to fastest of three epochs. {fastest} num_workers=0: your "
        "program makes the batches. A worker has to send it each one, which "
        "takes time, too. Workers pay where making batches takes longer and "
        "several cores share it, or where you use one batch meanwhile, as in "
        'training. With a GPU, pin_memory=True and images.to("cuda", '
        "non_blocking=True) copy from pinned memory while you go on."
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
    console.section("What a loader is for: each batch makes one step")
    console.say(
        "A digit of 8 x 8 pixels gets ten scores; the highest names its class. "
        "Guessing gets 10 %. by_class: 1,500 digits, zeros first, then ones, "
        "...; mixed: 1,409 of them, unsorted; test_set: 297 others. The "
        "mistakes return the percentages that five runs got."
    )
    console.code(learn)
    train_set, test_set = (images.in_rows() for images in digits(8))
    by_class = Subset(train_set, train_set.tensors[1].argsort(stable=True))
    given = {"by_class": by_class, "mixed": Subset(train_set, range(1409))}
    console.mistakes(__name__, raises=RuntimeError, test_set=test_set, **given)
    console.remember(
        "from torch.utils.data import DataLoader",
        "training = DataLoader(train_set, 64, shuffle=True, drop_last=True)",
        "testing = DataLoader(test_set, 64)  # every image",
    )
    console.say(
        "Exercise: rows = [torch.rand(n) for n in (2, 5, 1)] can't be "
        "stacked. Write a collate(rows) that puts zeros behind short ones. "
        "(batch,) = DataLoader(rows, 3, collate_fn=collate) must be .equal to "
        "torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)."
    )
    look = "IMAGES: in_order is twice the same, shuffled is not"
    with board("dataloader-demo", logdir, look) as writer:
        for tag, images in first.items():
            writer.add_images(tag, images)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
