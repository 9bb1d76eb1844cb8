"""Checkpoints: stop today, go on tomorrow.

Training often takes days. Each of its steps moves the weights, to lower the
loss, one number for how wrong the network is. A checkpoint is a file of all
that one step hands to the next. If nothing is missing, the losses go on as
if nobody had ever stopped: on the same CPU, the same to the last bit.

    python cli.py checkpoint-demo --step
"""

from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import torch
import typer
from torch import Tensor, nn
from torch.optim import Adam

from shared import console
from shared.board import board
from shared.datasets.embedded import digits
from shared.figures import curves_figure
from shared.options import LOGS, LogDir, Seed
from shared.seeds import spread

WORDS = {
    "checkpoint": "a file from which training can go on",
    "resume": "to go on from a checkpoint as if nobody had stopped",
    "map_location": "where torch.load puts tensors: cpu, or cuda (a GPU)",
}
Batch = list[Tensor]  # images (500, 64) in [0, 1], labels (500,)
EMPTY = {"step": 0, "exp_avg": 0.0, "exp_avg_sq": 0.0}  # a new Adam's memory


# ---- By hand ----------------------------------------------------------------
def adam_step(weight: Tensor, grad: Tensor, memory: dict, lr: float) -> tuple:
    """What Adam remembers, under PyTorch's names, and the new weight."""
    step = memory["step"] + 1
    mean = 0.9 * memory["exp_avg"] + 0.1 * grad
    square = 0.999 * memory["exp_avg_sq"] + 0.001 * grad**2
    now = mean / (1 - 0.9**step)  # it began at 0, and is too small at first
    usual = (square / (1 - 0.999**step)).sqrt()  # a gradient's usual size
    weight = weight - lr * now / (usual + 1e-8)  # never divide by 0
    return {"step": step, "exp_avg": mean, "exp_avg_sq": square}, weight


def begin() -> tuple[nn.Module, Adam]:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return model, Adam(model.parameters(), lr=0.03)


def train(net: nn.Module, adam: Adam, batch: Batch, epochs: int) -> Tensor:
    losses = []
    for _ in range(epochs):  # all the images are in one step
        losses.append(nn.functional.cross_entropy(net(batch[0]), batch[1]))
        adam.zero_grad()  # forget the last step's gradients
        losses[-1].backward()  # find new ones
        adam.step()  # move the weights
    return torch.stack(losses).detach()  # each before its step


def train_and_save(path: Path, seed: int, batch: Batch) -> Tensor:
    torch.manual_seed(seed)
    model, optimizer = begin()
    losses = train(model, optimizer, batch, epochs=30)
    both = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(both | {"epoch": 30}, path)
    return torch.cat([losses, train(model, optimizer, batch, epochs=30)])


def resume(path: Path) -> tuple[nn.Module, Adam, int]:
    checkpoint = torch.load(path, weights_only=True)
    model, optimizer = begin()
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    return model, optimizer, checkpoint["epoch"]


# ---- Mistakes ---------------------------------------------------------------
def wrong_morning(files: list[Path], batch: Batch) -> str:
    """The optimizer was forgotten. The saved one's next step moves a typical
    weight by less than a tenth of lr; a new Adam's first moves most by lr."""
    highest = []  # of five files: the median (least to most)
    for model, _, _ in map(resume, files):
        optimizer = Adam(model.parameters(), lr=0.03)
        highest.append(train(model, optimizer, batch, epochs=5).max())
    return f"highest loss {spread(torch.stack(highest), '.2f')}"


def right_morning(files: list[Path], batch: Batch) -> str:
    """load its state_dict, as resume does. The file's lr replaces yours."""
    highest = []
    for model, optimizer, _ in map(resume, files):
        highest.append(train(model, optimizer, batch, epochs=5).max())
    return f"highest loss {spread(torch.stack(highest), '.2f')}"


def wrong_best(files: list[Path], batch: Batch) -> str:
    """The best went on changing, and was loaded into itself. state_dict() is a
    dictionary of the model's own tensors; state_dict().copy() is another."""
    model, optimizer, _ = resume(files[0])
    best = model.state_dict()  # keep it, and go on with steps too long:
    train(model, Adam(model.parameters(), lr=0.3), batch, epochs=5)
    model.load_state_dict(best)  # back to the best
    return f"loss {train(model, optimizer, batch, epochs=1).item():.2f}"


def right_best(files: list[Path], batch: Batch) -> str:
    """copy each tensor, or save them to a file at once."""
    model, optimizer, _ = resume(files[0])
    best = {n: t.clone() for n, t in model.state_dict().items()}
    train(model, Adam(model.parameters(), lr=0.3), batch, epochs=5)
    model.load_state_dict(best)
    return f"loss {train(model, optimizer, batch, epochs=1).item():.2f}"


def wrong_night(files: list[Path]) -> str:
    """The old file was gone. torch.save empties it first. The lesson played a
    Ctrl-C right then: the new ZIP archive (miniz reads those) holds no 31."""
    with suppress(KeyboardInterrupt):  # somebody presses Ctrl-C in here
        torch.save({"epoch": 31}, files[3])  # it held epoch 30
    return f"epoch {torch.load(files[3], weights_only=True)['epoch']}"


def right_night(files: list[Path]) -> str:
    """save beside it, then rename: one of the two is always whole, whenever
    you stop. (Power may fail? os.fsync(part.open("r+")) before you rename.)"""
    part = files[4].with_suffix(".part")
    with suppress(KeyboardInterrupt):
        torch.save({"epoch": 31}, part)
        part.replace(files[4])
    return f"epoch {torch.load(files[4], weights_only=True)['epoch']}"


def wrong_laptop(gpu: Path) -> torch.device:
    """The tensor was on a graphics card (GPU) that isn't here. The file says
    where, and torch.load puts it there. (We wrote that into it by hand.)"""
    return torch.load(gpu, weights_only=True).device


def right_laptop(gpu: Path) -> torch.device:
    """name a place that every machine has."""
    return torch.load(gpu, map_location="cpu", weights_only=True).device


# ---- The lesson -------------------------------------------------------------
def show_paper_case() -> None:
    console.section("On paper: what Adam remembers of one weight")
    console.code(adam_step)
    weight, up, down = torch.tensor([1.0, 0.5, -0.5])
    memory, first = adam_step(weight, up, EMPTY, lr=0.1)
    _, second = adam_step(first, down, memory, lr=0.1)
    _, other = adam_step(first, down, EMPTY, lr=0.1)
    console.say(
        "The weight is 1, its gradient 0.5, and lr (the scale of steps) 0.1. "
        "From 0, mean becomes 0.1 * 0.5 = 0.05, square 0.001 * 0.5² = 0.00025. "
        "So now is 0.05 / 0.1 = 0.5, usual √(0.00025 / 0.001) = 0.5, the step "
        f"0.1 * 0.5 / 0.5 = 0.1, to {first:.1f}."
    )
    console.ask("The next gradient is -0.5. Where to? And with a new Adam?")
    console.say(
        "Then mean is 0.9 * 0.05 - 0.1 * 0.5 = -0.005, now -0.005 / (1 - 0.9²) "
        "= -0.0263, and usual still 0.5, the size of both gradients. The step "
        f"back is 0.1 * 0.0263 / 0.5 = 0.0053, to {second:.4f}. A new Adam's "
        f"is 0.1, to {other:.1f}, even for -0.0005: then usual is 0.0005, too."
    )
    parameter = nn.Parameter(weight)
    optimizer = Adam([parameter], lr=0.1)
    for parameter.grad in (up, down):
        optimizer.step()
    console.agrees("adam_step = PyTorch's Adam", second, parameter, 1e-6)


def show_stop(path: Path, batch: Batch, straight: Tensor) -> None:
    console.section("Stop after 30 of 60 epochs, and go on from the file")
    console.say(
        "The network reads digits again. An epoch is a round through all 500 "
        "images; train makes each in one step. train_and_save never stops: its "
        "30 losses after torch.save are those that a resumed run must have."
    )
    console.code(begin, train, train_and_save, resume)
    model, optimizer, epoch = resume(path)
    losses = train(model, optimizer, batch, 60 - epoch)
    console.agrees("30 resumed = never stopped", losses, straight[epoch:], 0)
    start, stop, end = straight[[0, epoch, -1]]
    console.say(
        f"The loss is {start:.2f} at first (guessing among ten digits is ln 10 "
        f"= 2.30), {stop:.2f} at the stop, {end:.3f} at the end. Nothing on "
        "the way is random. Where you shuffle the images, save "
        "torch.get_rng_state(), too, and hand it to torch.set_rng_state()."
    )
    console.ask("The model is 4,810 numbers of 4 bytes. How large is the file?")
    console.say(
        f"The file has {path.stat().st_size / 1000:.0f} kB. The model is 4,810 "
        "numbers of 4 bytes, 19 kB. Adam has two means for each: 38 kB more. "
        "The rest is names, settings, and the file's list of what is where."
    )


def run(seed: Seed = 0, logdir: LogDir = LOGS) -> None:
    """Stop a training run, and go on as if nobody had."""
    console.opening(__doc__)
    console.words(WORDS)
    show_paper_case()
    train_set = digits()[0].limited(500)
    batch = [train_set.images.flatten(1) / 255, train_set.labels]
    with board("checkpoint-demo", logdir, "IMAGES: a new Adam") as writer:
        *files, gpu = [Path(writer.log_dir, f"{i}.pt") for i in range(6)]
        runs = [train_and_save(p, seed + i, batch) for i, p in enumerate(files)]
        show_stop(files[0], batch, runs[0])
        with patch("torch.serialization.location_tag", lambda _: "cuda:99"):
            torch.save(torch.zeros(1), gpu)
        model, _, _ = resume(files[0])
        new = train(model, Adam(model.parameters(), lr=0.03), batch, epochs=30)
        curves = {"a new Adam": new, "never stopped": runs[0][30:]}
        figure = curves_figure(torch.arange(30, 60), curves, "epoch", "loss")
        figure.suptitle("The first loss is right, then a new Adam jumps")
        writer.add_figure("a new Adam", figure)
        given = {"files": files, "batch": batch, "gpu": gpu}
        with patch("torch.serialization._save", side_effect=KeyboardInterrupt):
            console.mistakes(__name__, RuntimeError, **given)
        console.remember(
            "state = dict(net=net.state_dict(), opt=opt.state_dict(), epoch=9)",
            'import os; torch.save(state, "part"); os.replace("part", "a.pt")',
            'old = torch.load("a.pt", map_location="cpu", weights_only=True)\n'
            'net.load_state_dict(old["net"]); opt.load_state_dict(old["opt"])',
        )
        console.say(
            "Exercise: write a program whose 60th loss is the same to the last "
            "bit, however often Ctrl-C stops it. Then let each step draw 100 "
            "of the images."
        )
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
