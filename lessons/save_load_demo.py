"""Save a model today, load it tomorrow.

A model is code and numbers. The code stays in your program. The numbers go
into a file: state_dict() is a dictionary of them, each tensor under its
name. A phone that reads handwriting loads such a file, and never trains.

    python cli.py save-load-demo --step
"""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError

import torch
import typer
from torch import Tensor, nn

from shared import console
from shared.board import board
from shared.datasets.embedded import digits
from shared.options import LOGS, LogDir, Seed
from shared.seeds import spread

WORDS = {
    "state_dict": "a dictionary of a model's numbers, from name to tensor",
    "pickle": "Python's file format for objects; loading can run code",
}


# ---- By hand ----------------------------------------------------------------
def load_state(model: nn.Module, state: dict) -> tuple[list, list, Tensor]:
    """Which names are missing, which unexpected, how many numbers filled?"""
    own = model.state_dict()  # not copied: its numbers are the model's
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    filled = torch.tensor(0)
    for name in own.keys() & state.keys():  # in both
        assert own[name].shape == state[name].shape  # or copy_ may stretch it
        own[name].copy_(state[name])  # write into the model
        filled += own[name].numel()  # a tensor's number of numbers
    return missing, unexpected, filled


def digit_net(*more: nn.Module) -> nn.Sequential:
    """(N, 64) to (N, 10) logits. Names begin with a place, as 0.weight's."""
    first = nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()
    return nn.Sequential(*first, *more, nn.Linear(64, 10))


def load(path: Path, *more: nn.Module, strict: bool = True) -> nn.Sequential:
    model = digit_net(*more)
    model.load_state_dict(torch.load(path, weights_only=True), strict=strict)
    return model


def shares_read(models: list[nn.Module], test: tuple, at_once: int) -> Tensor:
    """Images (N, 64), labels (N,): how often is the highest logit at theirs?"""
    some = test[0].split(at_once)
    logits = [torch.cat([model(images) for images in some]) for model in models]
    return (torch.stack(logits).argmax(2) == test[1]).float().mean(1)


# ---- Mistakes ---------------------------------------------------------------
def wrong_gift(folder: Path) -> str:
    """Loading ran code. A pickle may say: to build this object, call that."""

    class Gift:
        def __reduce__(self) -> tuple:  # how is it built? Call ...
            return Path.touch, (folder / "MARK",)  # ... which makes a file

    torch.save(Gift(), folder / "gift.pt")
    torch.load(folder / "gift.pt", weights_only=False)
    return f"MARK is there: {(folder / 'MARK').exists()}"


def right_gift(folder: Path) -> str:
    """leave weights_only at True, the default since PyTorch 2.6. It loads
    tensors and plain values; all else is an error, your whole model, too."""
    (folder / "MARK").unlink(missing_ok=True)
    with suppress(UnpicklingError):  # go on after this error
        torch.load(folder / "gift.pt", weights_only=True)
    return f"MARK is there: {(folder / 'MARK').exists()}"


def wrong_tomorrow(folder: Path) -> str:
    """The class is missing. The file holds its name, not its code."""
    net = "class Net(torch.nn.Linear): ..."  # python() is a new process
    python(folder, net, "torch.save(Net(2, 1), 'net.pt')")
    return python(folder, "torch.load('net.pt', weights_only=False)")


def right_tomorrow(folder: Path) -> str:
    """save the numbers alone: they load without the class, renamed or not."""
    net = "class Net(torch.nn.Linear): ..."
    python(folder, net, "torch.save(Net(2, 1).state_dict(), 'net.pt')")
    return python(folder, "print(*torch.load('net.pt', weights_only=True))")


def wrong_evening(folder: Path) -> object:
    """The method was saved, not what it returns. weights_only=True refuses it,
    and proposes False. That loads, but load_state_dict won't take it."""
    torch.save(nn.Linear(2, 1).state_dict, folder / "evening.pt")
    return torch.load(folder / "evening.pt", weights_only=False)


def right_evening(folder: Path) -> list[str]:
    """write state_dict(). Is the wrong file all you have, and your own? Call
    what you load as above: torch.load(..., weights_only=False)()."""
    torch.save(nn.Linear(2, 1).state_dict(), folder / "evening.pt")
    return list(torch.load(folder / "evening.pt", weights_only=True))


def wrong_monday(files: list[Path]) -> nn.Module:
    """The last layer has a new name, its new place: 4 in place of 3."""
    return load(files[0], nn.ReLU())  # a second ReLU changes no number


def tempting_monday(files: list[Path], test: tuple) -> str:
    """strict=False. Digits that five networks read: median (least to most)."""
    models = [load(path, nn.ReLU(), strict=False).eval() for path in files]
    return spread(shares_read(models, test, at_once=297), ".0%")


def right_monday(files: list[Path]) -> str:
    """rename the entries. Skipped, the last layer stays random: 10% on average.
    If you mean to skip some, look at the names that load_state_dict returns."""
    state = torch.load(files[0], weights_only=True)
    state["4.weight"] = state.pop("3.weight")  # take it out, put it in
    state["4.bias"] = state.pop("3.bias")
    return digit_net(nn.ReLU()).load_state_dict(state)


def wrong_three(files: list[Path], test: tuple) -> str:
    """Nobody called eval(). A state_dict holds no mode, and a new model is in
    train mode: batch norm takes the mean and variance of the three images."""
    models = [load(path) for path in files]
    return spread(shares_read(models, test, at_once=3), ".0%")


def right_three(files: list[Path], test: tuple) -> str:
    """call eval(): the file's running ones are used. In train mode all 297
    images at once read as well, and hide it; a single one raises an error."""
    models = [load(path).eval() for path in files]
    return spread(shares_read(models, test, at_once=3), ".0%")


# ---- The lesson -------------------------------------------------------------
def python(folder: Path, *lines: str) -> str:
    """Run lines in a new Python process; return the last line it printed."""
    command = [sys.executable, "-c", "\n".join(["import torch", *lines])]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return (done.stdout or done.stderr).strip().rpartition("\n")[2]


def trained(path: Path, seed: int, train: tuple) -> nn.Sequential:
    torch.manual_seed(seed)
    model, (images, labels) = digit_net(), train
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    torch.save(model.state_dict(), path)
    return model.eval()


def show_paper_case() -> None:
    console.section("On paper: one layer, five tensors, and two numbers")
    norm = nn.BatchNorm1d(1)
    console.say(
        "Every new layer is in train mode. Batch norm then subtracts the mean, "
        "divides by the root of the variance, multiplies by weight, adds bias. "
        "Buffers keep a running mean and variance for eval mode, and a count."
    )
    console.ask("3 and 5 come in, and nothing is trained. What will change?")
    state = norm.state_dict()
    new = {name: tensor.item() for name, tensor in state.items()}
    out = norm(torch.tensor([[3.0], [5]])).flatten().detach().round(decimals=2)
    rows = [(n, f"{new[n]:g}", f"{t.item():.3g}") for n, t in state.items()]
    console.table(["name", "new", "after 3 and 5"], rows)
    console.say(
        "The mean is 4, the variance ((3-4)² + (5-4)²) / 2 = 1: out come "
        "-1 and 1 (0.00001 is added to the variance). For the running one "
        "PyTorch divides by 2 - 1, which gives 2. A tenth of each goes in: "
        "0.4 = 0.9 * 0 + 0.1 * 4, and 1.1 = 0.9 * 1 + 0.1 * 2. In train mode, "
        "this layer changes by being used."
    )
    theirs = torch.cat([out, norm.running_mean, norm.running_var])
    paper = torch.tensor([-1, 1, 0.4, 1.1])
    console.agrees("paper = PyTorch, two decimals", paper, theirs, 1e-6)


def run(seed: Seed = 0, logdir: LogDir = LOGS) -> None:
    """Save a model, and load it the same to the last bit."""
    console.opening(__doc__)
    console.words(WORDS)
    show_paper_case()
    train, test = ((s.images.flatten(1) / 255, s.labels) for s in digits())
    with board("save-load-demo", logdir, "SCALARS: digits read") as writer:
        files = [Path(writer.log_dir, f"net_{i}.pt") for i in range(5)]
        model, *_ = [trained(p, seed + i, train) for i, p in enumerate(files)]
        console.section("digit_net: into a file, and into a new model")
        console.say("Ten outputs, its logits: the highest is the digit read.")
        console.code(digit_net, load_state, load)
        console.ask("0.weight has 64 * 64 numbers. How many has digit_net?")
        new, images = digit_net().eval(), test[0]
        *_, filled = load_state(new, torch.load(files[0], weights_only=True))
        console.say(
            "Five of them learned from 1,500 digits, by five seeds; 297 others "
            "are the test. load_state gave a new one the first's "
            f"{filled:,} numbers: 64 * 64 + 64, 4 * 64 + 1, and 64 * 10 + 10."
        )
        console.agrees("logits: new = trained", new(images), model(images), 0)
        theirs = load(files[0]).eval()(images)
        console.agrees("load_state = load_state_dict", new(images), theirs, 0)
        given = {"folder": files[0].parent, "files": files, "test": test}
        console.mistakes(__name__, RuntimeError, **given)
        for n in range(3, 30, 3):
            share = shares_read([load(p) for p in files], test, n).median()
            writer.add_scalar("digits read/images at once, no eval", share, n)
        console.remember(
            "import torch; net = torch.nn.Linear(2, 1)  # in both programs",
            'torch.save(net.state_dict(), "a.pt")  # in the one that trains it',
            'net.eval().load_state_dict(torch.load("a.pt", weights_only=True))',
        )
        console.say(
            "Exercise: reverse the rows of 0.weight in net_0.pt, in this run's "
            "folder: flip(0). What else must turn to keep the logits to 0.0001?"
        )
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
