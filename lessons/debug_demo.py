"""A network that does not learn.

Nothing crashes, yet the loss stays where it was. Don't guess: look, in this
order. Seven small checks look at the first loss, at a batch and its labels,
at one batch learned by heart, the gradients, one step, the shapes, and nan
(not a number: 0 / 0 gives it). Each comes down to one number:
    a check complains (!) when its number is outside of its healthy range

    python cli.py debug-demo --step
"""

import math
from copy import deepcopy
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from shared import console
from shared.board import board
from shared.options import LOGS, LogDir, Seed
from shared.practice import patients
from shared.seeds import SEEDS, spread

WORDS = {
    "overfit": "to learn items by heart, and so do worse on new ones",
    "anomaly": "autograd's name for a nan that the walk back has made",
}
Case = Annotated[int, typer.Option(min=0, max=7, help="One; 0: cases 1 to 3.")]
RANGE = {  # of each check: the range, and what its number is
    "start": (0.8, 1.3, "first loss / ln C; 1 is guessing"),
    "twins": (0.25, 1, "share whose nearest image has their label"),
    "by heart": (0, 0.1, "loss after 100 steps on this batch"),
    "gradient": (0.01, 1, "norms of the layers: smallest / largest"),
    "update": (1e-4, 0.1, "norms: one step / weight, mean of layers"),
    "width": (1, 1, "fewest outputs of a layer per image / C"),
    "nan": (0, 0, "1 if a gradient becomes nan, else 0"),
}


# ---- By hand ----------------------------------------------------------------
def start(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    logits = model(images)  # (N, C)
    return F.cross_entropy(logits, labels).detach() / math.log(logits.size(1))


def twins(images: Tensor, labels: Tensor) -> Tensor:
    rows = images.flatten(1)  # (N, pixels)
    distances = torch.cdist(rows, rows).fill_diagonal_(math.inf)  # not itself
    return (labels[distances.argmin(1)] == labels).float().mean()


def by_heart(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    model = deepcopy(model)  # yours learns nothing here
    optimizer, losses = Adam(model.parameters(), lr=0.01), []
    for _ in range(100):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def gradients(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    weights = [p for p in model.parameters() if p.dim() > 1]  # no biases
    loss = F.cross_entropy(model(images), labels)
    grads = torch.autograd.grad(loss, weights, materialize_grads=True)
    return torch.stack([grad.norm() for grad in grads])  # unused: 0


def updates(
    model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor
) -> Tensor:
    model, optimizer = deepcopy((model, optimizer))  # at once: still a pair
    weights = [p for p in model.parameters() if p.dim() > 1]
    before = [weight.detach().clone() for weight in weights]
    F.cross_entropy(model(images), labels).backward()  # a copy has no grad
    optimizer.step()
    pairs = zip(weights, before, strict=True)
    return torch.stack([(w - b).norm() / b.norm() for w, b in pairs]).detach()


def outputs(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """What each module in the model gives, by name; "" is the model itself."""
    notes, names = {}, {module: n for n, module in model.named_modules()}

    def note(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        notes[names[module]] = output.detach()

    hooks = [module.register_forward_hook(note) for module in names]
    model(images)
    for hook in hooks:
        hook.remove()
    return notes


def born(model: nn.Module, images: Tensor, labels: Tensor) -> str:
    """The first operation on the walk back that made a nan, or ""."""
    with torch.autograd.set_detect_anomaly(True):  # warns: which line
        loss = F.cross_entropy(model(images), labels)
        weights = [p for p in model.parameters() if p.requires_grad]
        try:
            torch.autograd.grad(loss, weights, allow_unused=True)
        except RuntimeError as error:
            return str(error)
    return ""


def examine(
    model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor
) -> dict[str, float]:
    """The seven numbers of an image classifier; they change nothing in it."""
    model, optimizer = deepcopy((model, optimizer))
    batch, classes = (images, labels), model(images).size(1)
    sizes, seen = gradients(model, *batch), outputs(model, images).values()
    return {
        "start": start(model, *batch).item(),
        "twins": twins(*batch).item(),
        "by heart": by_heart(model, *batch)[-1].item(),
        "gradient": (sizes.min() / sizes.max()).item(),
        "update": updates(model, optimizer, *batch).mean().item(),
        "width": min(out[0].numel() for out in seen) / classes,
        "nan": float(born(model, *batch) != ""),
    }


def complaints(found: dict[str, float]) -> list[str]:
    """The checks whose number is outside of its range, as nan always is."""
    return [n for n, v in found.items() if not RANGE[n][0] <= v <= RANGE[n][1]]


# ---- Mistakes ---------------------------------------------------------------
def wrong_alarm(images: Tensor, labels: Tensor) -> str:
    """A false alarm: nothing is broken. Dropout hides other pixels each time:
    loss above the 0.1 allowed (median of five networks, lowest to highest)."""
    nets = [nn.Sequential(nn.Dropout(), patients.network()) for _ in SEEDS]
    last = [by_heart(net, images, labels)[-1] for net in nets]
    return spread(torch.stack(last), ".4f")


def right_alarm(images: Tensor, labels: Tensor) -> str:
    """eval() of the dropout alone; later its train(). net.eval() switches batch
    norm, too: a healthy network with eight of them then gets complaints."""
    nets = [nn.Sequential(nn.Dropout(), patients.network()) for _ in SEEDS]
    for net in nets:
        net[0].eval()
    last = [by_heart(net, images, labels)[-1] for net in nets]
    return spread(torch.stack(last), ".4f")


def wrong_masked() -> Tensor:
    """Two gradients are nan: case 3 on paper. The output was fine: 0, 0, 2. At
    -1 the walk back has 0 * nan, at 0 it has 0 * inf (infinite): both nan."""
    x = torch.tensor([-1.0, 0, 4], requires_grad=True)
    torch.where(x > 0, x.sqrt(), 0).sum().backward()
    return x.grad


def right_masked() -> Tensor:
    """keep sqrt from what it can't take: clamp before it (sqrt(0): now 0.001).
    x.sqrt().nan_to_num(0), which mends only the output, leaves nan and inf."""
    x = torch.tensor([-1.0, 0, 4], requires_grad=True)
    x.clamp(min=1e-6).sqrt().sum().backward()
    return x.grad


# ---- The lesson -------------------------------------------------------------
def show_paper_case() -> None:
    console.section("A case small enough for paper: an image of two pixels")
    console.code(start, gradients)
    console.matrices(patients.PAPER)
    console.ask(
        "Its label is 0. The first loss? Which numbers in the gradient?"
    )
    console.say(
        "Both logits are 2 * 6 + 2 * 8 = 28. Softmax gives 0.5 and 0.5; the "
        "loss is -ln 0.5 = ln 2, and start ln 2 / ln 2 = 1: guessing, C = 2 "
        "classes. The gradient is (softmax - one-hot) * image. Row 0: (0.5 - "
        "1) * image = -3, -4; row 1: (0.5 - 0) * image = 3, 4. A norm is the "
        "root of the sum of squares. Gradient: 9 + 16 + 9 + 16 = 50, its root "
        "is 7.07. Weight: 4 + 4 + 4 + 4 = 16, its root is 4. One step of SGD "
        "at lr 0.001 is 0.001 * 7.07 / 4 = 0.0018 of the weight: updates()."
    )
    pair = patients.compare(start, gradients, updates)
    console.agrees("This and 99 random layers = formula", *pair, 1e-5)


def show_healthy(images: Tensor, labels: Tensor, found: dict) -> None:
    console.section("The checks on a healthy network: 64 digits, 10 classes")
    patients.show_batch(images, labels)
    patients.show_ranges(found, RANGE)


def show_case(number: int, train: tuple) -> None:
    console.section(f"Case {number} of 7: what is broken?")
    broken = patients.CASES[number - 1]
    net, optimizer, *batch = patients.admit(broken, train)
    found = examine(net, optimizer, *batch)
    patients.show_found(found, complaints(found), born(net, *batch))
    patients.show_learning(broken, train)
    console.ask("What is broken?")
    console.code(broken)


def run(seed: Seed = 0, case: Case = 0, logdir: LogDir = LOGS) -> None:
    """Find what is broken, with seven checks to take home."""
    torch.manual_seed(seed)
    console.opening(__doc__)
    console.words(WORDS)
    show_paper_case()
    train = patients.digit_set()
    net, optimizer, *batch = patients.admit(patients.healthy, train)
    show_healthy(*batch, examine(net, optimizer, *batch))
    patients.show_network(outputs(net, batch[0]), net, train)
    for number in [case] if case else (1, 2, 3):
        show_case(number, train)
    console.say("One alone: ", "python cli.py debug-demo --step --case 4")
    patients.show_counts(lambda *p: complaints(examine(*p)), RANGE, train)
    console.mistakes(__name__, images=batch[0], labels=batch[1])
    console.remember(
        "from lessons.debug_demo import complaints, examine  # beside cli.py",
        "print(complaints(examine(net, optimizer, images, labels)))",
        "Before training, with a batch of 64. No complaint, [], is no proof.",
    )
    console.say(
        "Exercise: no check complains of patients.Keeps(), whose forward never "
        "calls one layer. With outputs(), write unused(net, images): the names "
        "of such modules. Of Keeps(): ['act'], of patients.network(): []."
    )
    with board("debug-demo", logdir, "IMAGES: batch, by_heart") as writer:
        patients.log_figures(writer, by_heart, train)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
