"""A trained network from a checkpoint of any of the lessons, and its card."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from shared.console import fail
from shared.device import pick_device
from shared.models import CifarNet, MnistNet, Normalize, behind, flower_net
from shared.options import LOGS
from shared.training import trained

LESSONS = ("train-cifar", "train-mnist", "train-flowers")
Shape = tuple[int, int, int]


class Served(NamedTuple):
    """A model in eval mode, and what there is to say about it.

    Its images are uint8 of shape (channels, size, size), the middle of larger
    ones: so many pixels are cut off at each edge.
    """

    name: str
    model: nn.Module
    classes: list[str]
    shape: Shape
    card: dict[str, str]
    edge: int = 0

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def digits(self) -> bool:
        """Whether a digit can be drawn for it."""
        return all(len(name) == 1 and name.isdigit() for name in self.classes)


def open_served(path: Path | None, logdir: Path, device: str) -> Served:
    """Load a checkpoint, or the newest best.pt of the three lessons.

    Where there is none, or none that fits, the command ends with exit code 1.
    """
    path = path or newest(logdir)
    kept = trained.loaded(path)
    lesson = str(kept.get("made_by")) if isinstance(kept, dict) else ""
    lesson, edge = lesson.partition(",")[0], 0
    if lesson == "train-mnist":
        model, shape = _filled(path, kept, _mnist), (1, 28, 28)
    elif lesson == "train-flowers" and "net.conv1.weight" in kept.get(
        "model", ()
    ):
        model, shape, edge = _filled(path, kept, _flowers), (3, 64, 64), 16
    elif lesson == "train-flowers":
        model, shape = _filled(path, kept, _digits), (3, 32, 32)
    else:  # of train-cifar, or a plain state_dict; else it says what it is
        kept = trained.read_trained(path)
        model, shape = trained.rebuild(kept), (3, 32, 32)
    on = pick_device(device)
    model = model.to(on).eval()  # once, for all that will be asked
    with torch.inference_mode():  # the first time is slow: let it be now
        model(torch.zeros(1, *shape, dtype=torch.uint8, device=on))
    about = kept["classes"], shape, card(path, kept), edge
    return Served(named(path), model, *about)


def newest(logdir: Path) -> Path:
    """The best.pt of the newest run of the three lessons that has one."""
    found = [
        path
        for lesson in LESSONS
        for path in (logdir / lesson).glob("*/best.pt")
    ]
    if not found:
        problem = f"{logdir} holds no checkpoint of {', '.join(LESSONS)}."
        there = "" if logdir == LOGS else f" --logdir {logdir}"
        fail(problem, f"make one: python cli.py {LESSONS[0]}{there}")
    return max(found, key=lambda path: path.parent.name)


def _mnist(kept: dict[str, Any]) -> nn.Module:
    net = MnistNet(kept["settings"]["model"], len(kept["classes"]))
    return behind(Normalize(*torch.ones(2, 1)), net)


def _digits(kept: dict[str, Any]) -> nn.Module:
    net = CifarNet(len(kept["classes"]), "relu")
    return behind(Normalize(*torch.ones(2, 3)), net)


def _flowers(kept: dict[str, Any]) -> nn.Module:
    return flower_net(len(kept["classes"]))


def _filled(
    path: Path,
    kept: dict[str, Any],
    build: Callable[[dict[str, Any]], nn.Module],
) -> nn.Module:
    """The network that a lesson's checkpoint describes, with its numbers."""
    try:
        model = build(kept)
        model.load_state_dict(kept["model"])
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        problem = f"{path} doesn't fit the network of the lesson it names."
        fail(problem, trained.OURS)
    return model


def named(path: Path) -> str:
    """lesson/run/best.pt: a stranger need not know where that lies."""
    return "/".join(path.resolve().parts[-3:])


def card(path: Path, kept: dict[str, Any]) -> dict[str, str]:
    """What there is to know about a network before one trusts it."""
    about = {"file": named(path), "learned from": str(kept.get("data", "?"))}
    try:
        report = json.loads((path.parent / "run.json").read_text("utf-8"))
        about["right on its test images"] = f"{report['test_accuracy']:.1%}"
    except (OSError, ValueError, KeyError, TypeError):
        about["right on its test images"] = "unknown: its run has no report"
    written = datetime.fromtimestamp(path.stat().st_mtime)
    return about | {"trained": f"{written:%Y-%m-%d, %H:%M}"}
