"""What train-flowers carries over: from the digits 0 to 4 to 5 to 9."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from shared import console
from shared.datasets.embedded import photo_digits
from shared.datasets.image_set import Batch, ImageSet, shift_and_flip
from shared.models import CifarNet, normalized
from shared.seeds import over_seeds, shares_right, spread_table

NEW = 5  # the digits from here on are the new task
EACH = {"5 a class": 5, "10 a class": 10, "20 a class": 20}
COLUMNS = {name: place for place, name in enumerate(EACH)}
LAST = ("net.12.",)  # the last linear layer of CifarNet
WAYS = ["from scratch", "last layer", "head only", "all layers"]
STEPS = 60  # of Adam, for each cell of the table
RATES = dict(zip(WAYS, (3e-3, 1e-3, 1e-3, 5e-4), strict=True))
# The best of some, each; chosen with seeds 10 to 14, by held-out images.
HELD_OUT = 100  # of the digits 5 to 9, to choose an epoch by


def old_digits() -> ImageSet:
    """5,000 images of the digits 0 to 4, over photographs."""
    train, _ = _photo_digits()
    return train.subset(train.labels < NEW)


def new_digits(each: int, seed: int) -> tuple[ImageSet, ImageSet, ImageSet]:
    """The digits 5 to 9: so many of each to learn from, 100 held out, 1,000.

    Which of them is drawn by seed. No handwritten digit is in two sets, or
    twice among those to learn from.
    """
    train, test = (_from_five(some) for some in _photo_digits())
    chance = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=chance).tolist()
    chosen, held_out, used = [], [], set()
    need = {label: each for label in range(NEW)}
    for index in order:
        source, label = int(train.source[index]), int(train.labels[index])
        if source in used:
            continue
        if need[label]:
            need[label] -= 1
            chosen.append(index)
        elif len(held_out) < HELD_OUT:
            held_out.append(index)
        else:
            continue
        used.add(source)
    parts = (train.subset(torch.tensor(some)) for some in (chosen, held_out))
    return *parts, test


def learn(
    model: nn.Module,
    images: ImageSet,
    steps: int,
    lr: float,
    seed: int,
    batch: int = 25,
    falling: bool = False,
) -> nn.Module:
    """Steps of Adam, on batches of at most so many shuffled images."""
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learning, lr)
    chance = torch.Generator().manual_seed(seed)
    rate = LambdaLR(optimizer, lambda done: 1)
    if falling:  # after a fifth of the steps
        rate = OneCycleLR(optimizer, lr, steps + 1, pct_start=0.2)
    for some, labels in islice(_without_end(images, batch, chance), steps):
        optimizer.zero_grad()
        F.cross_entropy(model(some), labels).backward()
        optimizer.step()
        rate.step()
    return model


def _without_end(
    images: ImageSet, batch: int, chance: torch.Generator
) -> Iterator[Batch]:
    while True:
        yield from images.batches(min(batch, len(images)), chance)


def network() -> nn.Sequential:
    """A CifarNet for five digits, its normalisation that of the old ones."""
    return normalized(CifarNet(NEW, "relu"), old_digits().images)


@cache
def pretrained(seed: int) -> nn.Sequential:
    """A network that has learned the digits 0 to 4, four epochs long.

    Each image comes shifted; the rate rises to 0.002, and falls to almost 0.
    """
    torch.manual_seed(seed)
    shifted = partial(shift_and_flip, flip=False)
    model, images = network(), replace(old_digits(), transform=shifted)
    steps = 4 * len(images) // 64
    return learn(model, images, steps, 2e-3, seed, batch=64, falling=True)


def with_new_head(model: nn.Module, head: tuple[str, ...]) -> nn.Module:
    """A copy: random numbers again in the layers whose names begin so."""
    model = deepcopy(model)
    for name, layer in model.named_modules():
        if f"{name}.".startswith(head):
            layer.reset_parameters()
    return model


def ready(
    way: str,
    seed: int,
    begin_epoch: Callable[[nn.Module, tuple[str, ...] | None], None],
    head: tuple[str, ...],
) -> nn.Module:
    """What a row of the table begins with, all but what learns frozen."""
    torch.manual_seed(seed)
    if way == "from scratch":
        return network()
    only = LAST if way == "last layer" else head
    model = with_new_head(pretrained(seed), only)
    begin_epoch(model, None if way == "all layers" else only)
    return model


def sets(
    device: torch.device, limit: int | None, seed: int
) -> tuple[ImageSet, ImageSet, ImageSet]:
    """new_digits(10), on a device; of each set only limit images."""
    found = new_digits(10, seed)
    parts = tuple(some.limited(limit).to(device) for some in found)
    counts = [f"{len(some):,}" for some in parts]
    console.say(
        f"{counts[0]} training, {counts[1]} held-out and {counts[2]} test "
        f"images of {parts[0].name} on {device}"
    )
    return parts


def measured(
    begin_epoch: Callable[[nn.Module, tuple[str, ...] | None], None],
    head: tuple[str, ...],
) -> dict[str, Tensor]:
    """Of each way (seeds, columns): % of 1,000 unseen digits that are right.

    begin_epoch freezes all but what has one of the names: head's, or LAST.
    Images, order and random numbers depend on the seed.
    """

    def percents(way: str, seed: int) -> list[float]:
        found = []
        for each in EACH.values():
            some, _, unseen = new_digits(each, seed)
            model = ready(way, seed, begin_epoch, head)
            learn(model, some, STEPS, RATES[way], seed)
            test = unseen.images, unseen.labels
            found.append(100 * shares_right([model], test, 250).item())
        return found

    right = over_seeds(percents, WAYS)
    console.say("So many % of 1,000 unseen images are right (guessing: 20):")
    spread_table(COLUMNS, right, ".0f")
    rates = ", ".join(f"{way} {rate:g}" for way, rate in RATES.items())
    console.say(f"Adam's learning rate was chosen for each way: {rates}.")
    return right


def say_where(right: dict[str, Tensor]) -> None:
    """In which columns is a way ahead of from scratch, seed by seed?"""
    scratch, *others = WAYS
    console.say(f'Ahead of "{scratch}" in every seed, by points on average:')
    for heading, place in COLUMNS.items():
        rival = right[scratch][:, place]
        leads = {way: right[way][:, place] - rival for way in others}
        ahead = [
            f"{way} ({lead.mean():.0f})"
            for way, lead in leads.items()
            if lead.min() > 0
        ]
        said = " and ".join(ahead) or "none"
        some = [
            f"{way} (ahead in {int((lead > 0).sum())} of {len(lead)})"
            for way, lead in leads.items()
            if lead.min() <= 0 <= lead.max()
        ]
        if some:
            said += f"; not in every seed: {' and '.join(some)}"
        console.say(f"{heading}: {said}.")
    behind = right[WAYS[1]] < right[scratch]
    if behind.all():
        console.say(
            f'"{WAYS[1]}" is behind in every seed. The layer in front of it '
            "learned to tell 0 to 4 apart: it makes little of 5 to 9."
        )


@cache
def _photo_digits() -> tuple[ImageSet, ImageSet]:
    return photo_digits()


def _from_five(images: ImageSet) -> ImageSet:
    """The digits 5 to 9 alone, as classes 0 to 4."""
    some = images.subset(images.labels >= NEW)
    named = f"{images.name}, 5 to 9"
    labels, classes = some.labels - NEW, images.classes[NEW:]
    return replace(some, labels=labels, classes=classes, name=named)
