"""What train-mnist measures beside its training, and how it is shown."""

import copy
import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset
from typer import BadParameter

from shared import comparison, console
from shared.datasets.examples import Batch
from shared.datasets.image_set import ImageSet, shift_and_flip
from shared.datasets.sources import Sets
from shared.models import layer_table

EPOCHS = 25  # in which the ways of race() train
Build = Callable[[int], nn.Module]  # a network for so many classes


def check_momentum(momentum: float, optimizer: str) -> None:
    if momentum and optimizer == "adam":
        problem = "it goes with --optimizer sgd; Adam has its own."
        raise BadParameter(problem, param_hint="--momentum")


def first(sets: Sets, count: int = 8) -> ImageSet:
    """The first training images."""
    return sets[0].subset(torch.arange(min(count, len(sets[0]))))


def shift(train: ImageSet, most: int) -> None:
    """Move each training image by up to so many pixels, anew each time."""
    if most:
        train.transform = partial(shift_and_flip, flip=False, most=most)


def small(sets: Sets, count: int, which: int = 0) -> TensorDataset:
    """Rows of pixels, on the CPU: of the first count images of one set."""
    images = sets[which].to(torch.device("cpu"))
    return images.subset(torch.arange(min(count, len(images)))).in_rows()


def copies(build: Build, classes: int, seed: int) -> list[nn.Module]:
    """Five times the same network."""
    torch.manual_seed(seed)
    start = build(classes)
    return [copy.deepcopy(start) for _ in range(5)]


def few_images(
    sets: Sets,
) -> tuple[TensorDataset, list[Batch], tuple[DataLoader, DataLoader]]:
    """320 images to train on: as a Dataset, cut by hand, in a DataLoader.

    Beside that one stands one with images to validate with.
    """
    few = small(sets, 320)
    rows, labels = few.tensors
    batches = list(zip(rows.split(64), labels.split(64), strict=True))
    loaders = DataLoader(few, 64), DataLoader(small(sets, 150, 1), 128)
    return few, batches, loaders


def compare(results: list[list[Tensor]], updates: int) -> None:
    """Do all stages leave the weights that stage 1 has left?"""
    console.say(f"From the same start, after {updates} updates with lr 0.1:")
    first, *others = (parameters_to_vector(w).detach() for w in results)
    theirs = torch.stack(others)
    ours = first.expand_as(theirs)
    console.agrees("stages 2, 3, 4, 5 = stage 1", theirs, ours, 1e-6)


def show_mean(model: nn.Module, loader: DataLoader, val_loss: float) -> None:
    """The mean over images, beside the mean of the means of batches."""
    with torch.no_grad():
        means = [F.cross_entropy(model(x), y).item() for x, y in loader]
        rows, labels = loader.dataset.tensors
        at_once = F.cross_entropy(model(rows), labels)
    sizes = [len(y) for _, y in loader]
    pairs = zip(sizes, means, strict=True)
    terms = " + ".join(f"{size} * {mean:.4f}" for size, mean in pairs)
    console.say(
        f"evaluate weighs each batch's mean loss by its size: ({terms}) / "
        f"{len(labels)} = {val_loss:.4f}, where the plain mean of the means is "
        f"{sum(means) / len(means):.4f}."
    )
    weighted = torch.tensor(val_loss)
    console.agrees("weighted = all images at once", weighted, at_once, 1e-5)


def race(
    ways: dict[str, Callable[..., Optimizer]],
    build: Build,
    fit: Callable[..., float],
    sets: Sets,
    seed: int,
) -> None:
    """Train the same network in several ways; how far do its weights get?

    Says which is too small: the rate of the first way, or the network.
    """
    few, held_out = small(sets, 1280), small(sets, 500, 1)
    loaders = DataLoader(few, 64), DataLoader(held_out, 128)
    rows, losses = [], {}
    for name, make in ways.items():
        model, *_ = copies(build, len(sets[0].classes), seed)
        start = parameters_to_vector(model.parameters()).detach()
        optimizer = make(model.parameters())
        losses[name] = loss = fit(model, optimizer, loaders, EPOCHS)
        moved = parameters_to_vector(model.parameters()).detach() - start
        rows.append((name, f"{moved.norm() / start.norm():.1%}", f"{loss:.2f}"))
    count = f"{EPOCHS} epochs, {len(few):,} images"
    console.table([count, "moved", "val loss"], rows)
    steps = EPOCHS * len(loaders[0])
    answer = too_small(losses, math.log(len(sets[0].classes)))
    console.say(
        f"moved: how far all weights together have got in {steps} steps, as a "
        f"share of their size at the start. {answer}"
    )


def too_small(losses: dict[str, float], guess: float) -> str:
    """Which is too small, the rate of the first way or the network?"""
    first, *_ = losses
    known = {name: loss for name, loss in losses.items() if loss == loss}
    best = min(known, key=known.get, default=first)  # nan is not the best
    guessing, learned = losses[first] > 0.9 * guess, losses[best] < guess / 2
    if not (guessing and learned):
        return "These rows don't tell which is too small: other images might."
    return (
        f"{first}, hardly moves them: its loss stays near {guess:.2f}. {best}, "
        f"takes the same network to {losses[best]:.2f}. So the learning rate "
        "is too small, not the network."
    )


def fitted(
    methods: dict[str, Any], rows: Tensor, labels: Tensor, new_rows: Tensor
) -> dict[str, Tensor]:
    """The classes (N,) that scikit-learn's methods find for the new rows."""
    if len(labels.unique()) < 2 or len(labels) < 3:
        console.say("Too few training images for scikit-learn's methods.")
        return {}
    found = {}
    with console.progress("baselines") as bar, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 100 iterations were too few
        for name in bar.track(methods, description="fitting"):
            methods[name].fit(rows.numpy(), labels.numpy())
            predicted = methods[name].predict(new_rows.numpy())
            found[name] = torch.from_numpy(predicted)
    return found


def show_baselines(
    nearest_mean: Callable[[Tensor, Tensor, Tensor], Tensor],
    methods: dict[str, Any],
    images: tuple[ImageSet, ImageSet],
    predictions: Tensor,
) -> None:
    """Print which images a baseline gets right, and which the network (N,).

    methods: scikit-learn's. images: to train on, and to test with.
    """
    cpu = torch.device("cpu")
    train, test = (some.to(cpu).in_rows().tensors for some in images)
    guesses = {"nearest class mean": nearest_mean(*train, test[0])}
    guesses |= fitted(methods, *train, test[0])
    comparison.compare(guesses, predictions.cpu(), test[1], "images")


def say_more() -> None:
    """Say how pictures of one's own are laid out; ask for a baseline.

    They are to be white on black: --shift fills up with black.
    """
    console.say(
        "Your pictures, white on black: --data FOLDER with train/CLASS/, "
        "test/CLASS/."
    )
    console.say(
        "Exercise: let nearest_mean give the class of the nearest image, not "
        "of the nearest mean. With --data digits its row then says 98.65%."
    )


def show_network(model: nn.Module, images: Tensor) -> None:
    """Print the layers and, with a batch, the shape after each."""
    console.section("The network, layer by layer, with one batch")
    rows = layer_table([model.normalize, *model.net], images)
    console.table(["layer", "shape after it", "parameters"], rows)
    total = sum(parameter.numel() for parameter in model.parameters())
    one = "Linear from 784 to 128 has 784 * 128 weights, 128 biases: 100,480"
    if any(isinstance(layer, nn.Conv2d) for layer in model.net):
        one = "Conv2d from 1 to 16 channels has 16 * 25 weights, 16 biases: 416"
    console.say(
        f"{total:,} parameters are learned. {one}. Normalize divides by 255, "
        "no more: pixels from 0 to 1."
    )
