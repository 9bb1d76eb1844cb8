"""One program for the CPU and for a GPU.

A GPU is the processor of a graphics card. PyTorch computes where a tensor
lies, and tensors that meet in one operation must lie on the same device.
So three things move: the model, the loss, and each batch, labels too.
A GPU takes an order and works on it while your program runs on: a clock has
to wait for it. Numbers with fewer digits can save time, on both.

    python cli.py device-demo --step
"""

import time
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Annotated, Any

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor, nn

from shared import console, copies, figures, timings
from shared.board import board
from shared.datasets.embedded import photo_digits
from shared.device import pick_device, say_devices, say_things
from shared.models import CifarNet
from shared.options import LOGS, Device, LogDir
from shared.seeds import spread

WORDS = {
    "CUDA": "how programs reach an NVIDIA GPU; its device is cuda",
    "synchronise": "wait until a device has done all that it was told",
    "bfloat16": "a dtype of 16 bits: float32's range, fewer of its digits",
    "autocast": "a block in which PyTorch picks a dtype for each operation",
}
CPU, Net, Work = torch.device("cpu"), nn.Module, Callable[[], Any]
Size = Annotated[int, typer.Option(min=8, max=8192, help="Largest matrix.")]
Number = Annotated[float, typer.Option(min=1e-9, max=1e9, help="To round.")]


# ---- By hand ----------------------------------------------------------------
def move(batch: Any, device: torch.device | str) -> Any:
    """Plain dictionaries, lists and tuples as they were, tensors moved."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {name: move(part, device) for name, part in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)([move(part, device) for part in batch])
    return batch  # a name, a number, None: it lies on no device


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    if device.type == "mps":
        torch.mps.synchronize()  # on the CPU, a call ends when it is done


def stopwatch(work: Work, wait: Work, times: int = 9) -> list[float]:
    """The seconds that work takes, so many times: from order to end."""
    work()  # warm-up, not counted: a first call may load and prepare
    seconds = []
    for _ in range(times):
        wait()  # for what was ordered before
        start = time.perf_counter()
        work()
        wait()
        seconds.append(time.perf_counter() - start)
    return seconds


def median(values: list[float]) -> float:
    ordered, n = sorted(values), len(values)  # n odd: twice the same value
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


def to_bfloat16(x: Tensor) -> Tensor:
    """Keep eight binary digits of x (float32); a half goes to the even."""
    m, e = torch.frexp(x)  # x = m * 2**e, and m is 0.5 or more, less than 1
    return torch.ldexp((256 * m).round(), e - 8)  # * 2**(e - 8)


# ---- Mistakes ---------------------------------------------------------------
def wrong_inputs(there: torch.device) -> torch.device:
    """The copy was thrown away. inputs is still on the CPU, whatever the error
    names. Where all is on the CPU, the same lines give no error."""
    model, inputs = nn.Linear(3, 2).to(there), torch.ones(4, 3)
    inputs.to(there)
    return model(inputs).device


def right_inputs(there: torch.device) -> torch.device:
    """assign what a tensor's .to() returns."""
    model, inputs = nn.Linear(3, 2).to(there), torch.ones(4, 3)
    inputs = inputs.to(there)
    return model(inputs).device


def wrong_early(there: torch.device) -> torch.device:
    """The velocity (momentum_buffer) stayed behind: the optimizer holds it. The
    second step is an error on CUDA; on meta it moves the old weights again."""
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for device in (CPU, there):  # a step on each
        model.to(device)(torch.ones(4, 3, device=device)).sum().backward()
        optimizer.step()
    return optimizer.state_dict()["state"][0]["momentum_buffer"].device


def right_early(there: torch.device) -> torch.device:
    """move the model, then build its optimizer, then load a saved state."""
    model = nn.Linear(3, 2).to(there)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(4, 3, device=there)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()["state"][0]["momentum_buffer"].device


def wrong_total() -> Tensor:
    """The sum stands still. From 128 to 256, bfloat16's numbers are 1 apart:
    128.5 lies in the middle of 128 and 129, and becomes the even one, 128."""
    total = torch.tensor(0, dtype=torch.bfloat16)
    for _ in range(1000):  # batches, each with a loss of 0.5
        total += 0.5
    return total


def right_total() -> Tensor:
    """add up in float32, also what comes in bfloat16."""
    total = torch.tensor(0, dtype=torch.float32)
    for _ in range(1000):
        total += torch.tensor(0.5, dtype=torch.bfloat16)
    return total


# ---- The lesson -------------------------------------------------------------
def passes(net: Net, loss: Net, batch: dict, mixed: bool) -> list[Tensor]:
    weight = next(net.parameters())
    batch = move(batch, weight.device)  # all tensors in it
    with torch.autocast(weight.device.type, torch.bfloat16, enabled=mixed):
        logits = net(batch["images"])  # mixed: bfloat16
        value = loss(logits, batch["labels"])  # float32
    value.backward()  # after the block; in training, optimizer.step() follows
    return [logits, value, weight.grad]


def show_three(on: torch.device, there: torch.device) -> None:
    console.section("Three things to move")
    say_devices(on, there)
    console.ask("Of model, loss and inputs: which becomes another object?")
    things = {"model": nn.Linear(3, 2), "loss": nn.CrossEntropyLoss()}
    say_things(things | {"inputs": torch.ones(4, 3)}, there)
    console.say("This loss holds nothing. With weight= it does, and must move.")


def show_bfloat16(number: float) -> Figure:
    console.section(f"What bfloat16 keeps of {number:g}")
    console.code(to_bfloat16)
    console.ask(f"What does bfloat16 make of {number:g}?")
    x = torch.cat([torch.tensor([number]), torch.randn(1000)])
    m, e = (part[0].item() for part in torch.frexp(x))
    whole, kept = round(256 * m), to_bfloat16(x)
    console.say(
        f"{number:.7g} = m * 2**{e}, m = {m:.7g}. 256 * m = {256 * m:.7g}, "
        f"rounded {whole}. {whole} * 2**{e - 8} = {kept[0].item():.9g}. "
        f"From {2.0 ** (e - 1):g} to {2.0**e:g}, bfloat16's numbers are "
        f"{2.0 ** (e - 8):g} apart."
    )
    console.agrees("this and 1,000 more = bfloat16", kept, x.bfloat16(), 0)
    near = number * torch.linspace(0.98, 1.02, 2001)
    both = {"float32": near, "bfloat16": to_bfloat16(near)}
    figure = figures.curves_figure(near, both, "a number", "what is kept")
    figure.axes[0].set_title("bfloat16 keeps one number of each step")
    return figure


def show_sizes(on: torch.device, size: int) -> Figure:
    console.section("Measured: the product of two matrices (n, n)")
    console.code(synchronise, stopwatch)
    console.ask("At which n will bfloat16 be faster, and where slower?")
    found = timings.products(on, size, stopwatch, synchronise)
    timings.timing_table(on, *found, median)
    copies.say_copies(on, stopwatch, partial(synchronise, on))
    return timings.timings_figure(*found, median)


def show_passes(on: torch.device) -> None:
    console.section("A batch of 64 pictures: forward and backward")
    console.code(passes)
    console.ask("Which dtype will logits, loss and gradients have?")
    some = photo_digits()[0].limited(64)
    batch = {"images": some.images / 255, "labels": some.labels}
    rows, times = [], {}
    for device, mixed in product(dict.fromkeys((CPU, on)), (False, True)):
        net, loss = CifarNet(activation="relu"), nn.CrossEntropyLoss()
        work = partial(passes, net.to(device), loss.to(device), batch, mixed)
        seconds = stopwatch(work, partial(synchronise, device))
        times[name := f"{device}{', autocast' * mixed}"] = [seconds]
        dtypes = [str(t.dtype).removeprefix("torch.") for t in work()]
        rows.append((name, spread(1000 * Tensor(seconds), ".1f"), *dtypes))
    console.table(["", "median ms (range)", "logits", "loss", "gradient"], rows)
    timings.say_faster([64], times)
    console.say("Weights stay float32: in bfloat16, 1 + 0.003 would be 1.")


def run(
    device: Device = "auto",
    size: Size = 1024,
    number: Number = 1.01,
    logdir: LogDir = LOGS,
) -> None:
    """Move a model to a GPU, and time it there or here."""
    on = pick_device(device)
    there = torch.device("meta") if on == CPU else on
    console.opening(__doc__)
    console.words(WORDS)
    show_three(on, there)
    kept = show_bfloat16(number)
    with timings.undisturbed(on):
        sizes = show_sizes(on, size)
        show_passes(on)
    console.mistakes(__name__, RuntimeError, there=there)
    console.remember(
        "device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "net = torch.nn.Linear(3, 2).to(device)  # then build its optimizer",
        "x = torch.ones(3).to(device)  # assign it; the same for the labels",
    )
    console.say("Exercise: run the first whole --number that isn't kept.")
    with board("device-demo", logdir, "IMAGES, both figures") as writer:
        writer.add_figure("sizes", sizes)
        writer.add_figure("bfloat16", kept)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
