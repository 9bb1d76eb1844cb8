"""Figures for TensorBoard, and pictures there and in the terminal."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from shared import console
from shared.datasets.image_set import ImageSet


def curves_figure(
    x: Tensor,
    curves: dict[str, Tensor],
    xlabel: str,
    ylabel: str,
    yscale: str = "linear",
) -> Figure:
    """Draw curves (N,) over x (N,), each under its name."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel, yscale=yscale)
    for place, (name, y) in enumerate(curves.items()):
        width = 5 * 0.7**place  # thinner: a curve shows what it lies upon
        axes.plot(x.numpy(), y.numpy(), label=name, linewidth=width)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def spread_figure(measured: dict[str, Tensor], xlabel: str) -> Figure:
    """A line for each name, with a dot for each of its measured values (N,)."""
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel)
    for name, values in reversed(measured.items()):
        axes.plot(values.numpy(), [name] * len(values), "o", alpha=0.5)
    axes.grid(alpha=0.3)
    return figure


def sketch(
    curves: Iterable[Tensor], low: float = -1.2, high: float = 3.1
) -> Tensor:
    """Draw curves (N,) as pixels (3, N, N): the first white, then orange."""
    colours = torch.tensor([[1, 1, 1], [1, 0.5, 0]])[:, :, None]
    for place, curve in enumerate(curves):
        last = len(curve) - 1
        if place == 0:
            picture = torch.zeros(3, len(curve), len(curve))
            picture[:, round(last * high / (high - low))] = 0.3  # the line of 0
        heights = last * (high - curve) / (high - low)
        rows = heights.round().long().clamp(0, last)
        picture[:, rows, torch.arange(len(curve))] = colours[place]
    return picture


def kernels_figure(
    kernels: dict[str, Tensor], outputs: dict[str, Tensor]
) -> Figure:
    """Each kernel (kh, kw) with its numbers, and below what it made (H, W)."""
    figure = Figure(figsize=(2.4 * len(kernels), 5.5), layout="constrained")
    figure.suptitle(
        "Kernels (red: above 0, blue: below) and what they make of a picture\n"
        "(0 and less is black, 1 and more white)"
    )
    axes = figure.subplots(2, len(kernels), squeeze=False)
    for column, (name, kernel) in enumerate(kernels.items()):
        upper, lower = axes[:, column]
        upper.set_title(name)
        upper.imshow(kernel.sign().numpy(), cmap="coolwarm", vmin=-3, vmax=3)
        for (i, j), number in np.ndenumerate(kernel.numpy()):
            upper.text(j, i, f"{number:.3g}", ha="center", va="center")
        rows, columns = outputs[name].shape
        lower.set_title(f"output {rows} x {columns}")
        lower.imshow(outputs[name].numpy(), cmap="gray", vmin=0, vmax=1)
        upper.set_axis_off()
        lower.set_axis_off()
    return figure


def confusion_matrix(
    labels: Tensor, predictions: Tensor, num_classes: int
) -> Tensor:
    """Count each pair (true, predicted): (num_classes, num_classes) int64."""
    pairs = (
        labels.cpu() * num_classes + predictions.cpu()
    )  # one number for each pair
    return pairs.bincount(minlength=num_classes**2).view(
        num_classes, num_classes
    )


def confusion_figure(confusion: Tensor, classes: list[str]) -> Figure:
    """A confusion matrix (true, predicted), as shares of the true class."""
    shares = confusion / confusion.sum(1, keepdim=True).clamp(min=1)
    figure = Figure(figsize=(6, 5.6), layout="constrained")
    axes = figure.add_subplot(xlabel="predicted", ylabel="true")
    picture = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, label="share of the true class", shrink=0.8)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    if len(classes) <= 12:
        for true, row in enumerate(confusion.tolist()):
            for predicted, count in enumerate(row):
                ink = "white" if shares[true, predicted] > 0.5 else "black"
                axes.text(
                    predicted,
                    true,
                    count,
                    ha="center",
                    va="center",
                    color=ink,
                    fontsize=8,
                )
    return figure


def show_images(writer: SummaryWriter, images: ImageSet, step: int) -> None:
    """Show a few images, each under its number and class, and log them."""
    names = [
        f"{place}: {images.classes[k]}"
        for place, k in enumerate(images.labels, start=1)
    ]
    pictures = (images.images.cpu() / 255).squeeze(1)  # grey ones as (N, H, W)
    console.section(f"{len(images)} of the training images")
    console.pictures(
        dict(zip(names, pictures, strict=True)), "images/input", width=18
    )
    writer.add_images("images/input", images.images, step)


def show_guesses(
    writer: SummaryWriter, images: ImageSet, predictions: Tensor, step: int
) -> None:
    """Show which class (N,) each image was taken for, here and as figures."""
    classes = images.classes
    confusion = confusion_matrix(images.labels, predictions, len(classes))
    writer.add_figure(
        "figures/confusion", confusion_figure(confusion, classes), step
    )
    writer.add_figure(
        "figures/predictions", predictions_figure(images, predictions), step
    )
    console.confusion_table(confusion, classes)
    right = confusion.diag() / confusion.double().sum(
        1
    )  # nan where there is no image
    hardest = right.nan_to_num(1).argmin()
    mistakes = confusion[hardest].clone()
    mistakes[hardest] = 0
    wrong, times = classes[mistakes.argmax()], mistakes.max()
    console.say(
        f"Hardest: {classes[hardest]}, {right[hardest]:.0%} right. "
        f"Most often it was taken for {wrong}: {times} times."
    )


def predictions_figure(
    images: ImageSet, predictions: Tensor, each: int = 8
) -> Figure:
    """Some images predicted wrongly and some rightly, under the prediction."""
    labels, predictions = images.labels.cpu(), predictions.cpu()
    right = predictions == labels
    some = torch.cat(
        [_spaced(which.nonzero().flatten(), each) for which in (~right, right)]
    )
    figure = Figure(figsize=(6, 6.4), layout="constrained")
    side = math.ceil(math.sqrt(len(some)))
    for place, index in enumerate(some.tolist(), start=1):
        axes = figure.add_subplot(side, side, place)
        axes.imshow(
            images.images[index].permute(1, 2, 0).cpu().numpy(), cmap="gray"
        )
        axes.set_axis_off()
        predicted, true = (
            images.classes[predictions[index]],
            images.classes[labels[index]],
        )
        title = predicted if predicted == true else f"{predicted},\nis {true}"
        axes.set_title(
            title, color="green" if predicted == true else "red", fontsize=10
        )
    return figure


def _spaced(indices: Tensor, count: int) -> Tensor:
    """Up to count of the indices (N,), evenly spaced over all classes."""
    count = min(count, len(indices))
    return indices[torch.linspace(0, len(indices) - 1, count).round().long()]
