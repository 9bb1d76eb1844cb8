"""Save and load a model: every trap, sprung for real.

A model is code and numbers. The code stays in your program; the numbers
go into the file. state_dict() is the numbers: a dictionary from the name
of a layer's weight to its tensor.

    torch.save(model.state_dict(), path)
    model.load_state_dict(torch.load(path, weights_only=True))

    python cli.py save-load-demo
"""

import copy
import os
import re
import subprocess
import sys
import textwrap
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from tempfile import TemporaryDirectory
from timeit import timeit
from unittest import mock

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console
from shared.board import board
from shared.console import Mistake
from shared.datasets.embedded import digits
from shared.figures import curves_figure
from shared.models import CifarNet
from shared.options import LOGS, LogDir, Seed
from shared.training.checkpoint import save_checkpoint

Batch = tuple[Tensor, Tensor]  # images (N, 1, 8, 8) in [0, 1], labels (N,)


def some_digits() -> tuple[Batch, Batch]:
    """500 handwritten digits for training, 297 others for testing."""
    train_set, test_set = digits()
    train_set = train_set.limited(500)
    return (train_set.images / 255, train_set.labels), (
        test_set.images / 255,
        test_set.labels,
    )


def digit_net(head: str = "head") -> nn.Sequential:
    """Digits (N, 1, 8, 8) in, logits (N, 10) out. Its layers have names: those in the file."""
    layers = {
        "flat": nn.Flatten(),
        "body": nn.Linear(64, 64),
        "relu": nn.ReLU(),
    }
    return nn.Sequential(OrderedDict(layers, **{head: nn.Linear(64, 10)}))


def noisy_net() -> nn.Sequential:
    """The same with batch norm and dropout, which do one thing in training, another after it."""
    first = [nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()]
    return nn.Sequential(*first, nn.Dropout(0.5), nn.Linear(64, 10))


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    steps: int = 30,
) -> list[float]:
    """Take steps, each on all the images at once; return the loss before each step."""
    images, labels = batch
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def save_noisy_net(path: Path, data: Batch) -> None:
    model = noisy_net()
    train(model, torch.optim.Adam(model.parameters(), lr=0.01), data, steps=60)
    torch.save(model.state_dict(), path)


@torch.no_grad()
def accuracy(model: nn.Module, batch: Batch) -> float:
    """The share of images that get the right label, three at a time, in the model's own mode."""
    logits = torch.cat(
        [model(images) for images in batch[0].split(3)]
    )  # (N, 10)
    return (logits.argmax(1) == batch[1]).float().mean().item()


def new_process(folder: Path, *lines: str) -> str:
    """Run lines in a new Python process, as if you came back tomorrow; return its last words."""
    code = "\n".join(["import torch", "from torch import nn", *lines])
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return (done.stdout.strip() or done.stderr.strip()).rpartition("\n")[2]


def save_from_gpu(weights: dict[str, Tensor], path: Path) -> None:
    """Save as a machine with one GPU more than this one would: torch.save notes each device."""
    missing = f"cuda:{torch.cuda.device_count()}"
    with mock.patch("torch.serialization.location_tag", return_value=missing):
        torch.save(weights, path)


def whole(path: Path, trained: nn.Module, test: Batch) -> float:
    """Saving the whole model."""
    torch.save(trained, path)
    model = torch.load(path, weights_only=True)  # True is the default
    return accuracy(model, test)


def numbers(path: Path, trained: nn.Module, test: Batch) -> float:
    """A whole model is a pickle, Python's format for any object, and loading one can run any code
    (see the next mistake): since PyTorch 2.6 torch.load refuses. Save the numbers alone."""
    torch.save(trained.state_dict(), path)
    model = digit_net()
    model.load_state_dict(torch.load(path, weights_only=True))
    return accuracy(model, test)


def stranger(path: Path, mark: Path) -> bool:
    """Trusting any file."""

    class Harmless:
        def __reduce__(self) -> tuple:  # "to load me, call this"
            return Path.touch, (mark,)  # it only makes an empty file

    torch.save(Harmless(), path)
    torch.load(path, weights_only=False)
    return mark.exists()


def refused(path: Path, mark: Path) -> bool:
    """Loading was enough to run what the file asked for; it could have been anything. With
    weights_only=True only tensors and plain values are loaded, the rest is refused."""
    mark.unlink()
    with suppress(UnpicklingError):
        torch.load(path, weights_only=True)  # the same file
    return mark.exists()


def class_left(folder: Path) -> str:
    """A class left behind."""
    net = "class Net(nn.Linear): ..."  # only the first process knows it
    new_process(folder, net, "torch.save(Net(2, 1), 'net.pt')")
    return new_process(folder, "torch.load('net.pt', weights_only=False)")


def class_in_code(folder: Path) -> str:
    """Even a whole model is saved without its code: the file only says where the class was. A
    state dict names no class. It loads into any model with the same names and shapes."""
    torch.save(nn.Linear(2, 1).state_dict(), folder / "net.pt")
    net = "class Net(nn.Linear): ..."
    load = "torch.load('net.pt', weights_only=True)"
    load = f"print(Net(2, 1).load_state_dict({load}))"
    return new_process(folder, net, load)


def no_parentheses(path: Path, trained: nn.Module, test: Batch) -> float:
    """No parentheses."""
    torch.save(trained.state_dict, path)  # no complaint here
    model = digit_net()
    model.load_state_dict(torch.load(path, weights_only=False))
    return accuracy(model, test)


def parentheses(path: Path, trained: nn.Module, test: Batch) -> float:
    """Without () you save the method itself, and with it the whole model. weights_only=True
    refuses such a file; only False shows what is in it. Call the method: state_dict()."""
    torch.save(trained.state_dict(), path)
    model = digit_net()
    model.load_state_dict(torch.load(path, weights_only=True))
    return accuracy(model, test)


def renamed_layer(path: Path, test: Batch) -> float:
    """A renamed layer."""
    model = digit_net(head="output")  # saved as "head"
    model.load_state_dict(torch.load(path, weights_only=True))
    return accuracy(model, test)


def renamed_in_file(path: Path, test: Batch) -> float:
    """Missing: in the model, not in the file. Unexpected: in the file, not in the model. A state
    dict is a dictionary: give its entries the names that the model has now."""
    weights = torch.load(path, weights_only=True)
    weights = {k.replace("head", "output"): v for k, v in weights.items()}
    model = digit_net(head="output")
    model.load_state_dict(weights)
    return accuracy(model, test)


def not_strict(path: Path, data: Batch, test: Batch) -> float:
    """strict=False, unchecked."""
    model = digit_net(head="output")
    weights = torch.load(path, weights_only=True)
    model.load_state_dict(weights, strict=False)  # no complaint
    return accuracy(model, test)


def only_the_head(path: Path, data: Batch, test: Batch) -> float:
    """strict=False skips what doesn't match: the new head is still random. It is there to replace
    a part on purpose. Check that only this part is missing, then train it."""
    model = digit_net(head="output")
    weights = torch.load(path, weights_only=True)
    keys = model.load_state_dict(weights, strict=False)
    assert keys.missing_keys == ["output.weight", "output.bias"]
    train(model, torch.optim.Adam(model.output.parameters(), lr=0.03), data)
    return accuracy(model, test)


def prefix(path: Path, trained: nn.Module, test: Batch) -> float:
    """A DataParallel prefix."""
    torch.save(nn.DataParallel(trained).state_dict(), path)
    model = digit_net()
    model.load_state_dict(torch.load(path, weights_only=True))
    return accuracy(model, test)


def prefix_removed(path: Path, trained: nn.Module, test: Batch) -> float:
    """DataParallel and DistributedDataParallel keep your model as .module, and every name begins
    with that. Save wrapper.module.state_dict(); where it is too late, cut the prefix off."""
    weights = torch.load(path, weights_only=True)  # the same file
    weights = {k.removeprefix("module."): v for k, v in weights.items()}
    model = digit_net()
    model.load_state_dict(weights)
    return accuracy(model, test)


def no_such_gpu(path: Path, trained: nn.Module, test: Batch) -> float:
    """A file from a GPU."""
    save_from_gpu(trained.state_dict(), path)  # notes a GPU in the file
    model = digit_net()
    model.load_state_dict(torch.load(path, weights_only=True))
    return accuracy(model, test)


def onto_the_cpu(path: Path, trained: nn.Module, test: Batch) -> float:
    """The file notes where each tensor was, and torch.load wants to put it back there. (The note
    was forged here: a GPU that you don't have.) map_location says where to put it instead."""
    weights = torch.load(path, map_location="cpu", weights_only=True)
    model = digit_net()
    model.load_state_dict(weights)
    return accuracy(model, test)


def into_a_copy(path: Path, test: Batch) -> float:
    """Loading into a copy."""
    model = digit_net()
    weights = torch.load(path, weights_only=True)
    copy.deepcopy(model).load_state_dict(weights)
    return accuracy(model, test)


def into_the_model(path: Path, test: Batch) -> float:
    """load_state_dict fills the object that you call it on, and no other. The same happens in a
    function that builds its own model, loads into it, and doesn't return it."""
    model = digit_net()
    weights = torch.load(path, weights_only=True)
    model.load_state_dict(weights)
    return accuracy(model, test)


def best_moves_on(path: Path, data: Batch, test: Batch) -> float:
    """The best, not copied."""
    model = digit_net()
    model.load_state_dict(torch.load(path, weights_only=True))
    best = model.state_dict()  # the best until now
    train(model, torch.optim.SGD(model.parameters(), lr=5), data)  # worse
    model.load_state_dict(best)  # back to the best?
    return accuracy(model, test)


def best_stays(path: Path, data: Batch, test: Batch) -> float:
    """state_dict() copies nothing: it holds the very tensors that training changes. Copy them, or
    save them to a file."""
    model = digit_net()
    model.load_state_dict(torch.load(path, weights_only=True))
    best = copy.deepcopy(model.state_dict())
    train(model, torch.optim.SGD(model.parameters(), lr=5), data)
    model.load_state_dict(best)
    return accuracy(model, test)


def eval_forgotten(path: Path, test: Batch) -> float:
    """Forgetting eval()."""
    model = noisy_net()
    model.load_state_dict(torch.load(path, weights_only=True))
    return accuracy(model, test)


def eval_called(path: Path, test: Batch) -> float:
    """The mode isn't in the file, and a new model is in training mode: dropout removes half of
    the values, and batch norm takes its averages from the batch, here three images."""
    model = noisy_net()
    model.load_state_dict(torch.load(path, weights_only=True))
    model.eval()
    return accuracy(model, test)


def optimizer_forgotten(path: Path, data: Batch) -> list[float]:
    """Forgetting the optimizer."""
    checkpoint = torch.load(path, weights_only=True)
    model = digit_net()
    model.load_state_dict(checkpoint["model"])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    return train(model, optimizer, data)  # the losses


def optimizer_loaded(path: Path, data: Batch) -> list[float]:
    """Adam takes small steps where gradients used to be large. A new Adam knows of none: its first
    step moves the weights by the full lr. Save and load optimizer.state_dict() too."""
    checkpoint = torch.load(path, weights_only=True)
    model = digit_net()
    model.load_state_dict(checkpoint["model"])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    optimizer.load_state_dict(checkpoint["optimizer"])
    return train(model, optimizer, data)  # the losses


def half_written(path: Path) -> int:
    """A half-written file."""
    torch.save({"epoch": 1}, path)
    torch.save({"epoch": 2, "model": CifarNet().state_dict()}, path)
    os.truncate(path, 300_000)  # the power failed half way
    return torch.load(path, weights_only=True)["epoch"]


def old_or_new(path: Path) -> int:
    """Writing over a file destroys the old one first. Write beside it, then rename: whatever
    happens, the old file or the new one is whole. shared/checkpoint.py does this."""
    save_checkpoint(path, {"epoch": 1})
    part = path.with_name(path.name + ".part")
    torch.save({"epoch": 2, "model": CifarNet().state_dict()}, part)
    os.truncate(part, 300_000)  # the power failed before part.replace(path)
    return torch.load(path, weights_only=True)["epoch"]


def show_round_trip(
    folder: Path, data: Batch, test: Batch
) -> tuple[nn.Module, list[float]]:
    """Train, save, load, and go on as if nothing had happened; return the model and the losses."""
    console.section("What a state dict holds")
    model, trained = digit_net(), digit_net()
    optimizer = torch.optim.Adam(trained.parameters(), lr=0.03)
    losses = train(trained, optimizer, data)
    weights = trained.state_dict()
    console.table(
        ["name", "shape"],
        [(name, tuple(w.shape)) for name, w in weights.items()],
    )
    torch.save(weights, folder / "weights.pt")
    model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    console.agrees(
        "logits of the loaded model", model(test[0]), trained(test[0]), 0
    )
    console.say(
        f"Loaded, it reads {accuracy(model, test):.1%} of 297 test digits."
    )

    console.section(
        "Going on after a stop: model, optimizer and epoch in one file"
    )
    checkpoint = {
        "model": weights,
        "optimizer": optimizer.state_dict(),
        "epoch": 30,
    }
    save_checkpoint(folder / "checkpoint.pt", checkpoint)
    resumed = torch.tensor(optimizer_loaded(folder / "checkpoint.pt", data))
    losses += train(trained, optimizer, data)
    console.agrees(
        "30 more losses, as if never stopped",
        resumed,
        torch.tensor(losses[30:]),
        0,
    )
    return model, losses


def mistakes(
    folder: Path, trained: nn.Module, data: Batch, test: Batch
) -> dict[str, Mistake]:
    """Make every mistake; return each under its mend."""
    names = ("net.pt", "weights.pt", "noisy.pt", "checkpoint.pt")
    net, weights, noisy, checkpoint = (folder / name for name in names)
    wrong = partial(console.mistake, shows="accuracy {:.1%}")
    fails = partial(wrong, raises=RuntimeError)
    resume = partial(console.mistake, shows="loss {0[0]:.3f}, then {0[1]:.3f}")
    return {
        "save state_dict()": fails(
            whole, numbers, net, trained, test, raises=UnpicklingError
        ),
        "weights_only=True": wrong(
            stranger, refused, net, folder / "mark", shows="code ran: {}"
        ),
        "keep the class": wrong(class_left, class_in_code, folder, shows="{}"),
        "state_dict()": fails(
            no_parentheses, parentheses, net, trained, test, raises=TypeError
        ),
        "rename the entries": fails(
            renamed_layer, renamed_in_file, weights, test
        ),
        "check missing_keys": wrong(
            not_strict, only_the_head, weights, data, test
        ),
        "cut the prefix off": fails(
            prefix, prefix_removed, net, copy.deepcopy(trained), test
        ),
        "map_location": fails(no_such_gpu, onto_the_cpu, net, trained, test),
        "call it on the model": wrong(
            into_a_copy, into_the_model, weights, test
        ),
        "copy.deepcopy": wrong(best_moves_on, best_stays, weights, data, test),
        "model.eval()": wrong(eval_forgotten, eval_called, noisy, test),
        "save the optimizer": resume(
            optimizer_forgotten, optimizer_loaded, checkpoint, data
        ),
        "write beside, rename": fails(
            half_written, old_or_new, net, shows="epoch {}"
        ),
    }


def show_sizes_and_times(folder: Path) -> None:
    console.section("A CNN of 145,578 weights, saved in four ways")
    model = CifarNet()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.zeros(1, 3, 32, 32)).sum().backward()
    optimizer.step()  # now Adam has something to keep
    weights = model.state_dict()
    ways = {
        "whole model": model,
        "state_dict()": weights,
        "state_dict() in float16": {
            name: w.half() for name, w in weights.items()
        },
        "state_dict() and Adam's": {
            "model": weights,
            "optimizer": optimizer.state_dict(),
        },
    }
    rows = []
    for way, content in ways.items():
        path, safe = folder / f"{way}.pt", content is not model
        save = timeit(partial(torch.save, content, path), number=20) / 20
        load = (
            timeit(partial(torch.load, path, weights_only=safe), number=20) / 20
        )
        size = path.stat().st_size / 1000
        rows.append(
            (way, f"{size:,.0f}", f"{1000 * save:.1f}", f"{1000 * load:.1f}")
        )
    console.table(
        ["what is in the file", "KB", "ms to save", "ms to load"], rows
    )
    console.say(
        "Adam keeps two more numbers for each weight: three times the size."
    )


def in_short(symptom: str) -> str:
    """The first words of a symptom, without the exception's name: as much as a table has room."""
    words = re.sub(r"^\w+: (Error.*?:\s)?", "", symptom)
    return textwrap.shorten(words, 26, placeholder="…")


def run(seed: Seed = 0, logdir: LogDir = LOGS) -> None:
    """Walk into the traps of saving a model, and out again."""
    console.opening(__doc__)
    torch.manual_seed(seed)
    data, test = some_digits()
    with TemporaryDirectory() as name:
        folder = Path(name)
        trained, never_stopped = show_round_trip(folder, data, test)
        save_noisy_net(folder / "noisy.pt", data)
        made = mistakes(folder, trained, data, test)
        show_sizes_and_times(folder)
        curves = {
            "never_stopped": never_stopped,
            "optimizer_loaded": optimizer_loaded(
                folder / "checkpoint.pt", data
            ),
            "optimizer_forgotten": optimizer_forgotten(
                folder / "checkpoint.pt", data
            ),
        }

    console.section("Every trap and its way out")
    rows = [
        (trap.title, in_short(trap.symptom), mend)
        for mend, trap in made.items()
    ]
    console.table(["trap", "symptom", "mend"], rows)
    console.remember(
        "Save state_dict(): the model's, and to go on training the optimizer's too.",
        "Load with weights_only=True and map_location; then eval(), or train() to go on.",
        "weights_only=False may run code from the file: only for files of your own.",
    )
    look = (
        "IMAGES: the loss after a stop, with the optimizer loaded or forgotten"
    )
    with board("save-load-demo", logdir, look) as writer:
        for name, losses in curves.items():
            for step, loss in enumerate(losses, 60 - len(losses)):
                writer.add_scalar(f"resume/{name}", loss, step)
        late = {
            name: F.pad(torch.tensor(y), (60 - len(y), 0), value=torch.nan)
            for name, y in curves.items()
        }
        figure = curves_figure(torch.arange(60), late, "step", "loss", "log")
        writer.add_figure("figures/resume", figure)
    console.next_lesson("train-cifar")


if __name__ == "__main__":
    typer.run(run)
