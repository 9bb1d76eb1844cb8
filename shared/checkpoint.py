"""Checkpoints that survive a kill: a file is replaced whole, or it stays as it was."""

import csv
import io
import json
import os
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import typer

from shared.console import command, fail, short, warn
from shared.datasets import ImageSet


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step, so that a kill at any moment leaves the old one or the new one.

    The bytes go to path + ".part" in the same folder, reach the disk, and are then renamed.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def save_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write a dictionary of tensors and plain Python values, whole or not at all.

    Raises OSError when it can't be written; an older checkpoint at path is then still there.
    """
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what save_checkpoint wrote, onto the CPU.

    Raises ValueError when the file is no checkpoint or is damaged, OSError when it can't be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not compare the checksums
            if archive.testzip():
                raise zipfile.BadZipFile
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged or no checkpoint") from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{path} holds a {type(checkpoint).__name__}, not a checkpoint")
    return checkpoint


def latest_checkpoint(folder: Path) -> dict[str, Any]:
    """Load last.pt of a run, or best.pt (and say so) where last.pt is missing or damaged."""
    for name, other in (("last.pt", "best.pt"), ("best.pt", None)):
        try:
            return load_checkpoint(folder / name)
        except (ValueError, OSError):
            if other and (folder / other).exists():
                warn(f"{folder / name} is missing or damaged: going on from {other} instead.")
    fail(f"{folder} holds no checkpoint that can be read.", "start again, without --resume")


def save_epoch(folder: Path, checkpoint: dict[str, Any]) -> None:
    """Keep an epoch: best.pt if it is the best so far, last.pt, metrics.csv, run.json, each whole.

    checkpoint["history"] holds a row of numbers for each epoch, with its test_accuracy. best.pt
    comes first: a kill between the two only means that the epoch is trained once more.
    """
    history = checkpoint["history"]
    if history[-1] is best_epoch(history):
        save_checkpoint(folder / "best.pt", checkpoint)
    save_checkpoint(folder / "last.pt", checkpoint)
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, history[0])
    table.writeheader()
    table.writerows(history)
    write_whole(folder / "metrics.csv", text.getvalue().encode())
    describe_run(folder, checkpoint)


def best_epoch(history: list[dict[str, float]]) -> dict[str, float]:
    """The first row with the highest test accuracy."""
    return max(history, key=lambda row: row["test_accuracy"])


def describe_run(folder: Path, checkpoint: dict[str, Any]) -> None:
    """Write run.json: what a person may ask about a run: the checkpoint less the weights."""
    about = {name: checkpoint[name] for name in ("settings", "data", "classes", "torch")}
    if checkpoint["history"]:
        about["best"] = best_epoch(checkpoint["history"])
        about["last"] = checkpoint["history"][-1]
    write_whole(folder / "run.json", json.dumps(about, indent=2).encode())


def new_checkpoint(context: typer.Context, controls: tuple[str, ...]) -> dict[str, Any]:
    """A run before its first epoch. Every option but the controls is a setting of the run."""
    settings = {name: value for name, value in context.params.items() if name not in controls}
    return {"history": [], "settings": settings, "torch": str(torch.__version__)}


def resumed_checkpoint(context: typer.Context, folder: Path) -> dict[str, Any]:
    """The checkpoint that a run goes on from, with its settings; epochs may be given anew.

    Raises BadParameter where another option on the command line contradicts the run's settings.
    """
    checkpoint = latest_checkpoint(folder)
    settings = checkpoint["settings"]
    for name, value in settings.items():
        given = context.params[name]
        if context.get_parameter_source(name).name != "COMMANDLINE" or given == value:
            continue
        option = f"--{name.replace('_', '-')}"
        if name != "epochs":
            raise typer.BadParameter(
                f"This run was started with {value}, not {given}: leave {option} out to resume it.",
                param_hint=option,
            )
        settings["epochs"] = given
    done = len(checkpoint["history"])
    if done >= settings["epochs"]:
        fail(f"The run {folder} has all its {done} epochs.", f"--resume --epochs {2 * done}")
    return checkpoint


def settle_data(checkpoint: dict[str, Any], train_set: ImageSet, test_set: ImageSet) -> None:
    """Note in a new run's checkpoint what it trains on; make sure that a resumed run still does."""
    found = {"name": train_set.name, "train": len(train_set), "test": len(test_set)}
    batch_size = checkpoint["settings"]["batch_size"]
    if batch_size > len(train_set):
        raise typer.BadParameter(
            f"{batch_size} is more than the {len(train_set):,} training images.",
            param_hint="--batch-size",
        )
    known = (
        checkpoint.setdefault("data", found),
        checkpoint.setdefault("classes", train_set.classes),
    )
    if known != (found, train_set.classes):
        fail(
            f"The images of {train_set.name} have changed since this run began.",
            "start a new run, without --resume",
        )


def newest_run(parent: Path) -> Path:
    """The newest of a lesson's run folders that holds a checkpoint."""
    folders = sorted(path.parent for path in parent.glob("*/*.pt"))
    if not folders:
        fail(f"{parent} holds no run to resume.", "start one, without --resume")
    return folders[-1]


@contextmanager
def resumable(folder: Path, lesson: str) -> Iterator[None]:
    """When Ctrl-C ends what is inside, say what is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        if (folder / "last.pt").exists():
            go_on = command("python", "cli.py", lesson, "--resume", short(folder))
            warn(f"All whole epochs are kept. Go on: {go_on}")
        else:
            warn("No epoch was finished, so there is nothing to resume.")
        raise
