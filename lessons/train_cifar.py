"""The whole training loop, on pictures.

Take the images in shuffled batches, take one optimizer step for each batch,
test after each epoch, and keep the last and the best weights. The network
is CifarNet: three convolutions and two linear layers.

    python cli.py train-cifar --epochs 10 --device cuda
    python cli.py train-cifar --resume
    torchrun --nproc-per-node 2 cli.py train-cifar --device cuda
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from shared import checkpoint as checkpoints
from shared import console, distributed, downloads, options
from shared.board import board
from shared.datasets import ImageSet, channel_statistics, shift_and_flip
from shared.device import pick_autocast, pick_device
from shared.figures import confusion_figure, confusion_matrix, predictions_figure
from shared.models import CifarNet, Normalize
from shared.sources import load_images

COLUMNS = {
    "epoch": "d",
    "train loss": ".4f",
    "test loss": ".4f",
    "accuracy": ".1%",
    "seconds": ".1f",
}
LOOK = "SCALARS: loss, accuracy; IMAGES: inputs, predictions; HPARAMS: the settings"
CONTROLS = ("run_folder", "resume", "download", "device", "logdir")  # all else is a setting


def train_epoch(
    model: nn.Module,
    loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    autocast: torch.autocast,
    writer: SummaryWriter,
    step: int,
    advance: Callable[[int], None],
) -> float:
    """Go through the loader once, one optimizer step a batch; return the mean loss an image."""
    model.train()
    total = torch.zeros((), device=next(model.parameters()).device)
    for images, labels in loader:
        advance(len(labels))
        images, labels = distributed.share(images, labels)  # all, unless torchrun started several
        with autocast:
            logits = model(images)  # (N, classes)
            loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        total += loss.detach() * len(labels)  # the last batch may be smaller than the others
        if step % 100 == 0:
            writer.add_scalar("loss/train", loss.item(), step)
    return distributed.total(total) / len(loader.dataset)


@torch.no_grad()
def evaluate(model: nn.Module, images: ImageSet) -> tuple[float, Tensor]:
    """The mean loss an image, and the predicted class of each image (N,)."""
    model.eval()
    total, predictions = 0.0, []
    for batch, labels in images.batches(500):
        logits = model(batch)
        total += F.cross_entropy(logits, labels, reduction="sum").item()
        predictions.append(logits.argmax(1))
    return total / len(images), torch.cat(predictions)


def build(train_set: ImageSet, activation: str, seed: int) -> nn.Module:
    """CifarNet behind the normalisation that belongs to its training images."""
    torch.manual_seed(seed)
    net = CifarNet(len(train_set.classes), activation)
    normalize = Normalize(*channel_statistics(train_set.images))
    model = nn.Sequential(OrderedDict(normalize=normalize, net=net))
    return model.to(train_set.images.device, memory_format=torch.channels_last)


def batches_of_epoch(train_set: ImageSet, settings: dict[str, Any], epoch: int) -> DataLoader:
    """Shuffled batches; chance depends on seed and epoch alone, so a resumed run meets the same."""
    chance = torch.Generator().manual_seed(settings["seed"] * 1_000_003 + epoch)
    flip = settings["data"] != "photo-digits"  # in a mirror, a digit is no digit any more
    change = partial(shift_and_flip, chance=chance, flip=flip) if settings["augment"] else None
    return train_set.batches(settings["batch_size"], chance, change)


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    autocast: torch.autocast,
    loader_of: Callable[[int], DataLoader],
    test_set: ImageSet,
    checkpoint: dict[str, Any],
    writer: SummaryWriter,
) -> Tensor:
    """Train the epochs that the checkpoint's history lacks; return the last test predictions."""
    history, epochs = checkpoint["history"], checkpoint["settings"]["epochs"]
    replica = distributed.parallel(model)
    print_row = console.growing_table(COLUMNS)
    for epoch in range(len(history) + 1, epochs + 1):
        loader, started = loader_of(epoch), time.perf_counter()
        with console.progress("images") as bar:
            task = bar.add_task(f"epoch {epoch} of {epochs}", total=len(loader.dataset))
            step, advance = (epoch - 1) * len(loader), partial(bar.advance, task)
            train_loss = train_epoch(replica, loader, optimizer, autocast, writer, step, advance)
        row = {"epoch": epoch, "train_loss": train_loss}
        seconds = time.perf_counter() - started
        row["test_loss"], predictions = evaluate(model, test_set)
        row |= {"test_accuracy": test_set.accuracy(predictions), "seconds": seconds}
        refuse_nan(row, optimizer)
        history.append(row)
        log_epoch(writer, row, optimizer, epoch * len(loader))
        checkpoint.update(model=model.state_dict(), optimizer=optimizer.state_dict())
        checkpoints.save_epoch(Path(writer.log_dir), checkpoint)
        print_row(*row.values())
    return predictions


def refuse_nan(row: dict[str, float], optimizer: torch.optim.Optimizer) -> None:
    """Stop when the weights have run away: from nan there is no way back."""
    if not math.isfinite(row["train_loss"] + row["test_loss"]):
        lr = optimizer.param_groups[0]["lr"]
        console.fail(f"In epoch {row['epoch']} the loss became nan.", f"try --lr {lr / 10:g}")


def log_epoch(
    writer: SummaryWriter, row: dict[str, float], optimizer: torch.optim.Optimizer, step: int
) -> None:
    writer.add_scalar("loss/test", row["test_loss"], step)
    writer.add_scalar("accuracy/test", row["test_accuracy"], step)
    writer.add_scalar("optimizer/lr", optimizer.param_groups[0]["lr"], step)


def report(
    test_set: ImageSet, predictions: Tensor, checkpoint: dict[str, Any], writer: SummaryWriter
) -> None:
    """Show what the trained network gets right and wrong, in the terminal and in TensorBoard."""
    history, settings = checkpoint["history"], checkpoint["settings"]
    confusion = confusion_matrix(test_set.labels, predictions, len(test_set.classes))
    console.section("What is taken for what")
    console.confusion_table(confusion, test_set.classes)
    best = checkpoints.best_epoch(history)
    speed = len(history) * checkpoint["data"]["train"] / sum(row["seconds"] for row in history)
    console.say(f"\nBest epoch: {best['epoch']}, with {best['test_accuracy']:.1%} right")
    console.say(f"Speed: {speed:,.0f} training images a second")
    folder = console.short(Path(writer.log_dir))
    console.say(f"Kept: last.pt, best.pt, metrics.csv and run.json in\n{folder}")

    epochs = len(history)
    figure = confusion_figure(confusion, test_set.classes)
    writer.add_figure("figures/confusion", figure, epochs)
    writer.add_figure("figures/predictions", predictions_figure(test_set, predictions), epochs)
    result = {"result/last": history[-1]["test_accuracy"], "result/best": best["test_accuracy"]}
    words = {"limit": str(settings["limit"] or "all"), "augment": str(settings["augment"])}
    writer.add_hparams(settings | words, result, run_name=".")


def start(
    checkpoint: dict[str, Any], folder: Path | None, device: torch.device, logdir: Path
) -> None:
    """Train from the checkpoint on, which for a new run has no history yet, and report."""
    settings, history = checkpoint["settings"], checkpoint["history"]
    with distributed.first_alone():
        sets = load_images(settings["data"])
    train_set, test_set = (images.limited(settings["limit"]).to(device) for images in sets)
    checkpoints.settle_data(checkpoint, train_set, test_set)
    if settings["data"] == "photo-digits":
        console.note(
            "These are photo-digits, made here: handwritten digits over photographs.\n"
            "Real CIFAR-10 (170 MB): [bold]python cli.py train-cifar --data cifar10 --download[/]"
        )
    console.say(f"{len(train_set):,} training and {len(test_set):,} test images on {device}")
    loader_of = partial(batches_of_epoch, train_set, settings)

    model = build(train_set, settings["activation"], settings["seed"])
    optimizer = torch.optim.SGD(model.parameters(), settings["lr"], settings["momentum"])
    if history:
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
    autocast = pick_autocast(device, settings["precision"])
    first_step = len(history) * len(loader_of(1)) + 1
    with board("train-cifar", logdir, LOOK, folder, first_step) as writer:
        folder = Path(writer.log_dir)
        checkpoints.describe_run(folder, checkpoint)
        if not history:
            writer.add_images("images/input", train_set.limited(32).images)
        with checkpoints.resumable(folder, "train-cifar"):
            predictions = train(model, optimizer, autocast, loader_of, test_set, checkpoint, writer)
        report(test_set, predictions, checkpoint, writer)
    console.say("Try next: ", what_next(settings))


def what_next(settings: dict[str, Any]) -> str:
    """The command for the first improvement that these settings do not have yet."""
    words = ["python", "cli.py", "train-cifar", "--data", settings["data"], "--activation", "relu"]
    if settings["activation"] == "none":
        return console.command(*words)
    if not settings["momentum"]:
        return console.command(*words, "--momentum", "0.9")
    return f"python cli.py train-cifar --resume --epochs {2 * settings['epochs']}"


def run(
    context: typer.Context,
    run_folder: options.RunFolder = None,
    resume: options.Resume = False,
    data: options.Images = "auto",
    download: Annotated[
        bool, typer.Option("--download", help="With --data cifar10: download it first (170 MB).")
    ] = False,
    epochs: options.Epochs = 10,
    batch_size: options.BatchSize = 64,
    lr: options.LearningRate = 0.01,
    momentum: options.Momentum = 0.0,
    activation: Annotated[
        Literal["none", "relu"], typer.Option(help="What follows each layer but the last.")
    ] = "none",
    augment: Annotated[
        bool, typer.Option("--augment", help="Shift and mirror the training images at random.")
    ] = False,
    precision: options.Precision = "float32",
    limit: options.Limit = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    logdir: options.LogDir = options.LOGS,
) -> None:
    """Train a CNN on pictures: the whole loop, with resume."""
    console.opening(__doc__)
    chosen = pick_device(device)
    if run_folder and not resume:
        raise typer.BadParameter("a run's folder goes with --resume.", param_hint="RUN")
    if download and data != "cifar10":
        raise typer.BadParameter("it goes with --data cifar10.", param_hint="--download")
    if download:
        downloads.download("cifar10", options.DATA)
    if resume:
        run_folder = run_folder or checkpoints.newest_run(logdir / "train-cifar")
        checkpoint = checkpoints.resumed_checkpoint(context, run_folder)
        logdir = run_folder.resolve().parent.parent
        done = len(checkpoint["history"])
        console.say(f"Going on after epoch {done} of {console.short(run_folder)}")
    else:
        checkpoint = checkpoints.new_checkpoint(context, CONTROLS)
    with distributed.together(chosen, logdir) as (chosen, logdir):
        start(checkpoint, None if distributed.RANK else run_folder, chosen, logdir)


if __name__ == "__main__":
    typer.run(run)
