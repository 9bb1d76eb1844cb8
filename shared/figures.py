"""Figures for TensorBoard, and pictures there and in the terminal."""

import math
from collections.abc import Callable

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from shared import console
from shared.datasets.image_set import ImageSet

COLOURS = {  # of activations: the same in every figure
    "Identity": "tab:gray",
    "ReLU": "tab:red",
    "LeakyReLU": "tab:pink",
    "Sigmoid": "tab:green",
    "Tanh": "tab:purple",
    "GELU": "tab:olive",
}
RINGS = {"inner ring": "tab:blue", "outer ring": "tab:orange"}


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
    _draw_curves(axes, x, curves)
    axes.legend()
    return figure


def functions_figure(
    functions: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]],
) -> Figure:
    """Functions and, beside them, their derivatives."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    figure.suptitle("Activations, and how fast they grow")
    x = torch.linspace(-4, 4, 201)
    for place, title in enumerate(("f(x)", "its derivative f'(x)")):
        axes = figure.add_subplot(1, 2, place + 1, xlabel="x", title=title)
        axes.set_ylim(-1.1, 2.1)
        _draw_curves(axes, x, {n: f(x)[place] for n, f in functions.items()})
    axes.legend()
    return figure


def _draw_curves(axes: Axes, x: Tensor, curves: dict[str, Tensor]) -> None:
    for place, (name, y) in enumerate(curves.items()):
        width = 5 * 0.7**place  # thinner: a curve shows what it lies upon
        style = {"color": COLOURS.get(name), "linewidth": width}
        axes.plot(x.numpy(), y.numpy(), label=name, **style)
    axes.grid(alpha=0.3)


def layers_figure(measured: dict[str, Tensor]) -> Figure:
    """Sizes of gradients by layer (seeds, layers): medians, and the spread."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="layer", yscale="log")
    axes.set_ylabel("size of the gradient (layer 10: 1)")
    axes.set_title("Median of the seeds; shaded: smallest to largest")
    layers = torch.arange(1, next(iter(measured.values())).shape[1] + 1)
    medians = {n: values.median(0).values for n, values in measured.items()}
    _draw_curves(axes, layers, medians)
    for line, values in zip(axes.lines, measured.values(), strict=True):
        low, high = (edge.numpy() for edge in values.aminmax(dim=0))
        colour = line.get_color()
        axes.fill_between(layers, low, high, color=colour, alpha=0.2)
    axes.set_xticks(layers)
    axes.legend()
    return figure


def spread_figure(
    columns: dict[str, int], measured: dict[str, Tensor]
) -> Figure:
    """Accuracies in %, as in spread_table: a dot for each measured value."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    figure.suptitle("A dot for each seed")
    row = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, (title, place) in zip(row, columns.items(), strict=True):
        for name, values in reversed(measured.items()):
            dots = values[:, place].numpy()
            style = {"color": COLOURS.get(name), "alpha": 0.5}
            axes.plot(dots, [name] * len(dots), "o", **style)
        axes.set(title=title, xlabel="right, in %", xlim=(-3, 103))
        axes.grid(alpha=0.3)
    return figure


def pairs_figure(measured: dict[str, Tensor], units: dict[str, str]) -> Figure:
    """Mistakes (seeds, 2), wrong and right: a dot for each seed.

    Those whose unit is not % have a scale of their own.
    """
    shares = [name for name in measured if name not in units]
    others = [name for name in measured if name in units]
    groups = [([name], units[name]) for name in others]
    if shares:
        groups.insert(0, (shares, "right, in %"))
    heights = [len(names) + 0.5 for names, _ in groups]
    size = (8, 0.35 * sum(heights) + 0.6 * len(groups) + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle("Each seed: the mistake a red x, its mend a green dot")
    ratios = {"height_ratios": heights}
    rows = figure.subplots(len(groups), 1, squeeze=False, gridspec_kw=ratios)
    for axes, (names, unit) in zip(rows[:, 0], groups, strict=True):
        for name in reversed(names):
            for place, style in enumerate(("rx", "go")):
                dots = measured[name][:, place].numpy()
                axes.plot(dots, [name] * len(dots), style, alpha=0.6)
        axes.set(xlabel=unit, ylim=(-0.6, len(names) - 0.4))
        axes.axvline(0, color="gray", linewidth=0.5)  # so that 0 is seen
        if unit == "right, in %":
            axes.set_xlim(-3, 103)
        axes.grid(alpha=0.3)
    return figure


def plane(
    model: nn.Module,
    points: Tensor,
    classes: Tensor,
    edge: float = 2.5,
    size: int = 72,
) -> Tensor:
    """Where in the plane class 1 beats class 0, in white: (3, size, size).

    Row 0 is the upper edge, as in an image. Upon it lie points (N, 2), (x, y),
    in the colours of their classes (N,).
    """
    line = torch.linspace(-edge, edge, size)
    places = torch.cartesian_prod(-line, line).flip(1)  # (y, x) to (x, y)
    with torch.no_grad():
        inner, outer = model(places)[:, :2].T  # of ten outputs, these two
    white = (outer > inner).view(size, size)
    picture = white.float().repeat(3, 1, 1)
    columns, rows = ((points * torch.tensor([1, -1]) + edge) / (2 * edge)).T
    inside = (columns - 0.5).abs().maximum((rows - 0.5).abs()) <= 0.5
    spots = torch.stack([rows, columns])[:, inside] * (size - 1)
    colours = torch.tensor([to_rgb(colour) for colour in RINGS.values()])
    i, j = spots.round().long()
    picture[:, i, j] = colours[classes[inside]].T
    return picture


def planes_figure(planes: dict[str, Tensor], edge: float = 2.5) -> Figure:
    """What plane() gave for some models, with the rings they were to part."""
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    figure.suptitle("White: where the network sees the outer ring")
    for place, (name, picture) in enumerate(planes.items(), start=1):
        axes = figure.add_subplot(1, len(planes), place, xlabel="x", ylabel="y")
        axes.set_title(f"activation: {name}")
        corners = (-edge, edge, -edge, edge)
        axes.imshow(picture.permute(1, 2, 0).numpy(), extent=corners)
    rings = [Patch(color=c, label=name) for name, c in RINGS.items()]
    axes.legend(handles=rings, loc="upper right")
    return figure


def show_developing(negative: Tensor, path: Tensor) -> dict[str, Figure]:
    """What a photograph's negative (H, W) becomes as its loss goes downhill.

    path: contrast, brightness and loss after each step (steps + 1, 3). Prints
    some of it; returns figures of the pictures and of the way.
    """
    few = [0, 1, 2, 5, 20, len(path) - 1]
    names = ("contrast", "brightness", "loss")
    rows = zip(names, path[few].T.tolist(), strict=True)
    cells = [[name, *(f"{n:.3g}" for n in row)] for name, row in rows]
    for cell, wanted in zip(cells, (-1, 1, 0), strict=True):
        cell.append(f"{wanted}")
    console.table(["step", *map(str, few), "wanted"], cells)
    if path[-1, 2] > path[0, 2]:
        console.say("The loss has grown: these steps are too large.")
    elif path[-1, 2] > 0.01:
        console.say("The loss is still falling: these steps are too few.")
    made = {"negative": negative}
    for step in few[1:]:
        made[f"step {step}"] = path[step, 0] * negative + path[step, 1]
    shown = ["negative", *(f"step {step}" for step in (1, 20, few[-1]))]
    console.pictures({n: made[n] for n in shown}, "developing", width=18)
    figure = Figure(figsize=(1.9 * len(made), 2.6), layout="constrained")
    figure.suptitle("contrast * negative + brightness, 0 is black, 1 is white")
    row = figure.subplots(1, len(made))
    for axes, (name, picture) in zip(row, made.items(), strict=True):
        axes.set_title(name)
        axes.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
    return {"developing": figure, "downhill": downhill_figure(negative, path)}


def downhill_figure(negative: Tensor, path: Tensor) -> Figure:
    """The loss of contrast and brightness, its gradients, and a path (S, 3)."""
    figure = Figure(figsize=(7.5, 6), layout="constrained")
    axes = figure.add_subplot(xlabel="contrast", ylabel="brightness")
    axes.set_title(
        "The loss over its two numbers, and the steps downhill\n"
        "(arrows: against the gradient, the longer the larger it is)"
    )

    def losses(points: Tensor) -> Tensor:  # (..., 2) to (...)
        made = points[..., :1] * negative.flatten() + points[..., 1:]
        return ((made - (1 - negative).flatten()) ** 2).mean(-1)

    x, y = torch.linspace(-1.5, 0.7, 89), torch.linspace(-0.2, 1.6, 73)
    grid = torch.cartesian_prod(y, x).flip(1).view(len(y), len(x), 2)
    heights = losses(grid)
    levels = (heights.max() * torch.linspace(0, 1, 15) ** 2).tolist()
    surface = axes.contourf(
        *map(np.asarray, (x, y, heights)), levels, cmap="Blues"
    )
    figure.colorbar(surface, label="loss", format="%.2g")
    some = grid[4::8, 4::8].reshape(-1, 2).requires_grad_()
    losses(some).sum().backward()  # each loss is that of its own point alone
    arrows = -some.grad / some.grad.norm(dim=1, keepdim=True).sqrt()
    places = some.detach().T.numpy()
    axes.quiver(
        *places, *arrows.T.numpy(), angles="xy", color="grey", width=0.003
    )
    contrast, brightness = path[:, :2].nan_to_num().clamp(-9, 9).T.numpy()
    axes.plot(contrast, brightness, ".-", color="tab:red", label="the path")
    axes.plot(0, 0, "s", color="black", label="start: 0, 0")
    axes.plot(
        -1, 1, "*", color="black", markersize=12, label="the photo: -1, 1"
    )
    axes.set(xlim=(-1.5, 0.7), ylim=(-0.2, 1.6), aspect="equal")
    axes.legend(loc="lower left")
    return figure


def show_valley(steepness: Tensor, paths: dict[str, Tensor]) -> Figure:
    """Print where paths (S, 2) of x and y end, and draw them over the loss.

    The loss is the sum of steepness (2,) * (x², y²). What leaves the picture is
    cut off at its edge.
    """
    ends = {}
    for name, path in paths.items():
        ends[name] = *path[-1], (steepness * path[-1] ** 2).sum()
    rows = [(name, *(f"{n:.3g}" for n in end)) for name, end in ends.items()]
    last = len(next(iter(paths.values()))) - 1
    console.table([f"after {last} steps", "x", "y", "loss"], rows)
    figure = Figure(figsize=(9, 1 + 2 * len(paths)), layout="constrained")
    figure.suptitle(
        "A dot for each step; lighter is a smaller loss, 0 at the star"
    )
    axes_below = figure.subplots(len(paths), 1, sharex=True, squeeze=False)
    x, y = np.linspace(-10.5, 4.5, 121), np.linspace(-1.6, 1.6, 81)
    one, other = steepness.tolist()
    heights = one * x**2 + other * y[:, None] ** 2
    levels = np.linspace(0, heights.max() ** 0.5, 14) ** 2
    for [axes], (name, path) in zip(axes_below, paths.items(), strict=True):
        axes.contourf(x, y, heights, levels, cmap="Blues")
        way = path.nan_to_num().clamp(-1e6, 1e6).T.numpy()
        axes.plot(*way, ".-", color="tab:red", linewidth=1)
        axes.plot(0, 0, "*", color="black", markersize=10)
        axes.set_title(f"{name}: after {last} steps loss {ends[name][-1]:.2g}")
        axes.set(ylabel="y", xlim=x[[0, -1]], ylim=y[[0, -1]])
    axes.set_xlabel("x")
    return figure


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


def pictures_figure(
    named: dict[str, Tensor], title: str, columns: int = 4
) -> Figure:
    """Images (H, W) or (3, H, W) in [0, 1], each under its name, row by row."""
    rows = math.ceil(len(named) / columns)
    size = (2.2 * columns, 2.4 * rows + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title)
    for place, (name, image) in enumerate(named.items(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.set_title(name, parse_math=False, fontsize=9)
        levels = image.permute(1, 2, 0) if image.dim() == 3 else image
        axes.imshow(levels.clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
    return figure


def thumbnails(
    dataset: torch.utils.data.Dataset, places: range
) -> dict[str, Tensor]:
    """Small images in [0, 1] of those places that there are, with labels."""
    inside = range(max(0, places.start), min(places.stop, len(dataset)))
    some = {place: dataset[place] for place in inside}
    return {f"{i}: label {k}": thumbnail(x) for i, (x, k) in some.items()}


def thumbnail(image: Tensor, edge: int = 64) -> Tensor:
    """An image (3, H, W) uint8 as a square of at most edge pixels, in [0, 1].

    It keeps its shape: what is missing to a square is black.
    """
    height, width = image.shape[1:]
    scale = min(1, edge / max(height, width))
    rows, columns = (max(1, round(scale * n)) for n in (height, width))
    small = nn.functional.adaptive_avg_pool2d(image / 255, (rows, columns))
    below, right = (max(rows, columns) - n for n in (rows, columns))
    sides = right // 2, right - right // 2, below // 2, below - below // 2
    return nn.functional.pad(small, sides)


def strides_figure(views: dict[str, Tensor]) -> Figure:
    """Tables (H, W) that read one storage, and their first steps in it.

    Each box is a number of the storage; those that the table reads are green.
    """
    figure = Figure(figsize=(8, 2 * len(views)), layout="constrained")
    figure.suptitle("The storage; what the table reads of it is green")
    for place, (name, table) in enumerate(views.items(), start=1):
        axes = figure.add_subplot(len(views), 1, place)
        start, stride = table.storage_offset(), table.stride()
        title = f"{name}: shape {tuple(table.shape)}, stride {stride}, "
        axes.set_title(f"{title}offset {start}", loc="left")
        count = table.untyped_storage().nbytes() // table.element_size()
        axes.set(xlim=(-0.5, count + 1.5), ylim=(-1.1, 1.1))
        axes.set_axis_off()
        numbers = torch.arange(count)
        read = numbers.as_strided(table.shape, stride, start).unique()
        for number in numbers.tolist():
            colour = "lightgreen" if number in read else "white"
            box = {"boxstyle": "square,pad=0.6", "facecolor": colour}
            axes.text(number, 0, number, ha="center", va="center", bbox=box)
        _draw_step(axes, start, stride[0], "next row: stride[0] =")
        _draw_step(axes, start, stride[1], "next column: stride[1] =")
    return figure


def _draw_step(axes: Axes, start: int, stride: int, said: str) -> None:
    """An arrow from start to the next row, above, or column, below."""
    side, colour = (1, "tab:red") if "row" in said else (-1, "tab:blue")
    arrow = {"arrowstyle": "->", "color": colour, "lw": 2}
    arrow["connectionstyle"] = f"arc3,rad={-0.3 * side}"
    ends = (start + stride, 0.35 * side), (start, 0.35 * side)
    if stride:
        axes.annotate("", *ends, arrowprops=arrow)
    said += f" {stride}" if stride else " 0, the same place"
    right = axes.get_xlim()[1]
    axes.text(right, 0.6 * side, said, color=colour, ha="right")


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


def confusion_figure(
    confusion: Tensor, classes: list[str], what: str = "test images"
) -> Figure:
    """A confusion matrix (true, predicted), as shares of the true class."""
    shares = confusion / confusion.sum(1, keepdim=True).clamp(min=1)
    figure = Figure(figsize=(6, 5.6), layout="constrained")
    axes = figure.add_subplot(xlabel="predicted class", ylabel="true class")
    title = f"{what.capitalize()}: how many of each class were taken for what"
    axes.set_title(title)
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
    titles = {
        index: f"{index + 1}: {images.classes[label]}"
        for index, label in enumerate(images.labels)
    }
    console.section(f"{len(images)} training images (image: class)")
    pictures = (images.images.cpu() / 255).squeeze(1)  # grey ones as (N, H, W)
    named = dict(zip(titles.values(), pictures, strict=True))
    console.pictures(named, "images/input", width=18)
    figure = images_figure(images, titles, ["black"] * len(titles))
    figure.suptitle("Some of the training images (image: class)")
    writer.add_figure("images/input", figure, step)


def show_guesses(
    writer: SummaryWriter,
    images: ImageSet,
    predictions: Tensor,
    step: int,
    kind: str = "test",
) -> None:
    """Show which class (N,) each image was taken for, here and as figures.

    kind: of which part the images are, test or held-out.
    """
    classes = images.classes
    confusion = confusion_matrix(images.labels, predictions, len(classes))
    figure = confusion_figure(confusion, classes, f"{kind} images")
    writer.add_figure("figures/confusion", figure, step)
    figure = predictions_figure(images, predictions, kind)
    writer.add_figure("figures/predictions", figure, step)
    console.confusion_table(confusion, classes)
    right = confusion.diag() / confusion.double().sum(1)  # nan: no such image
    lowest = right.nan_to_num(1).min()
    hardest = [k for k in range(len(classes)) if right[k] == lowest]
    names = " and ".join(classes[k] for k in hardest)
    names = names if len(hardest) <= 3 else f"{len(hardest)} classes"
    console.say(f"Hardest: {names}, {lowest:.0%} right.")
    mistakes = confusion[hardest[0]].clone()
    mistakes[hardest[0]] = 0
    if len(hardest) == 1 and mistakes.any():
        times = mistakes.max()
        often = [
            name
            for name, n in zip(classes, mistakes, strict=True)
            if n == times
        ]
        count = "once" if times == 1 else f"{times} times"
        each = " each" if len(often) > 1 else ""
        console.say(
            f"Most often taken for {' and '.join(often)}: {count}{each}."
        )


def predictions_figure(
    images: ImageSet, predictions: Tensor, kind: str = "test", each: int = 8
) -> Figure:
    """Some images predicted wrongly and some rightly, under the prediction."""
    labels, predictions = images.labels.cpu(), predictions.cpu()
    right = predictions == labels
    some = torch.cat(
        [spaced(which.nonzero().flatten(), each) for which in (~right, right)]
    )
    titles = {}
    for index in some.tolist():
        predicted = images.classes[predictions[index]]
        wrong = f"{predicted},\nis {images.classes[labels[index]]}"
        titles[index] = predicted if right[index] else wrong
    colours = ["green" if right[index] else "red" for index in titles]
    figure = images_figure(images, titles, colours)
    what = f"{kind.capitalize()} images"
    figure.suptitle(f"{what}: wrongly predicted (red), rightly (green)")
    return figure


def images_figure(
    images: ImageSet, titles: dict[int, str], colours: list[str]
) -> Figure:
    """Some images in a grid, each under its title: {index: title}."""
    figure = Figure(figsize=(6, 6.8), layout="constrained")
    side = math.ceil(math.sqrt(len(titles)))
    pairs = zip(titles.items(), colours, strict=True)
    for place, ((index, title), colour) in enumerate(pairs, start=1):
        axes = figure.add_subplot(side, side, place)
        picture = images.images[index].permute(1, 2, 0).cpu().numpy()
        axes.imshow(picture, cmap="gray")
        axes.set_axis_off()
        axes.set_title(title, color=colour, fontsize=10)
    return figure


def spaced(indices: Tensor, count: int) -> Tensor:
    """Up to count of the indices (N,), evenly spaced over all classes."""
    count = min(count, len(indices))
    return indices[torch.linspace(0, len(indices) - 1, count).round().long()]
