"""Losses by hand, and the way back to the weights.

A loss says in one number how far n outputs are from their targets. Its
gradient says how each output changes that number (off = output - target):
    L1    mean of |off|    gradient: sign of off (-1, 0 or 1) / n
    MSE   mean of off²     gradient: 2 * off / n  (mean squared error)
For classes there is cross-entropy. Backpropagation walks on to the weights.

    python cli.py loss-demo --step
"""

from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console
from shared.board import board
from shared.options import LOGS, LogDir, Seed
from shared.practice import losses
from shared.seeds import SEEDS, shares_right, spread

WORDS = {
    "loss": "one number for how wrong outputs are; training makes it small",
    "reduction": "what becomes of many losses: mean, sum, or none (all kept)",
    "logits": "outputs of a network, one for each class, before softmax",
    "softmax": "makes logits probabilities: from 0 to 1, their sum is 1",
    "one-hot": "a label as a row: 1 at its class's place, 0 at the others",
    "cross-entropy": "-ln of the probability that softmax gives the label",
}
Pair = tuple[Tensor, Tensor]
Label = Annotated[int, typer.Option(min=0, max=2, help="Of three logits.")]
OUTPUT, TARGET = torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 2, 5])
NETWORK = {
    "image": torch.tensor([[1.0, 2]]), "label": torch.tensor([0]),
    "w1": torch.tensor([[1.0, 1], [1, -1]]), "b1": torch.tensor([0.0, 0]),
    "w2": torch.tensor([[1.0, 2], [2, 1]]), "b2": torch.tensor([3.0, 0]),
}  # fmt: skip


# ---- By hand ----------------------------------------------------------------
def reduced(losses: Tensor, gradients: Tensor, reduction: str) -> Pair:
    n = losses.numel() if reduction == "mean" else 1
    if reduction != "none":
        losses = losses.sum()
    return losses / n, gradients / n


def l1_loss(output: Tensor, target: Tensor, reduction: str = "mean") -> Pair:
    off = output - target
    return reduced(off.abs(), off.sign(), reduction)


def mse_loss(output: Tensor, target: Tensor, reduction: str = "mean") -> Pair:
    off = output - target
    return reduced(off**2, 2 * off, reduction)


def softmax(logits: Tensor) -> Tensor:
    powers = logits.exp()  # e, 2.71828, to the power of each logit
    return powers / powers.sum(-1, keepdim=True)  # -1: over the classes


def cross_entropy(
    logits: Tensor, labels: Tensor, reduction: str = "mean"
) -> Pair:
    p, hot = softmax(logits), F.one_hot(labels, logits.size(1))
    own = (p * hot).sum(1)  # of each row of p only the label's is left
    return reduced(-own.log(), p - hot, reduction)  # log is ln


def backprop(x: Tensor, labels: Tensor, *parameters: Tensor) -> tuple:
    w1, b1, w2, b2 = parameters
    z = x @ w1.T + b1  # forward: (N, inputs) to (N, hidden)
    h = z * (z > 0)  # ReLU
    logits = h @ w2.T + b2  # (N, classes)
    back = {}  # the loss's gradient for each value, the last value first
    loss, back["logits"] = cross_entropy(logits, labels)
    back["w2"] = back["logits"].T @ h  # @ adds up over the images
    back["b2"] = back["logits"].sum(0)
    back["h"] = back["logits"] @ w2
    back["z"] = back["h"] * (z > 0)  # where ReLU let z through
    back["w1"] = back["z"].T @ x
    back["b1"] = back["z"].sum(0)
    return loss, back


# ---- Mistakes ---------------------------------------------------------------
def wrong_ends(train: Pair, test: Pair) -> str:
    """Softmax came twice: cross-entropy makes it itself. Of ten numbers from 0
    to 1 it makes at most e / (e + 9) = 0.232, so no loss is below 1.46."""
    nets = [losses.learned(train, seed, nn.Softmax(1)) for seed in SEEDS]
    return spread(shares_right(nets, test), ".0%") + " read right (5 seeds)"


def right_ends(train: Pair, test: Pair) -> str:
    """end with logits; for probabilities to look at, net(images).softmax(1)."""
    nets = [losses.learned(train, seed) for seed in SEEDS]
    return spread(shares_right(nets, test), ".0%") + " read right (5 seeds)"


def wrong_kind() -> Tensor:
    """Labels are whole numbers. Long is int64, Byte uint8, Float float32."""
    return F.cross_entropy(torch.zeros(2, 3), torch.tensor([0.0, 2.0]))


def right_kind() -> Tensor:
    """add .long(). Of three equal logits the loss is -ln(1/3) = 1.0986."""
    return F.cross_entropy(torch.zeros(2, 3), torch.tensor([0.0, 2.0]).long())


def wrong_shape() -> Tensor:
    """All outputs are right, so it should be 0. Broadcasting took each minus
    each target: (3, 3). It is least if all are 2.67, the targets' mean."""
    output = TARGET[:, None]  # (3, 1), as nn.Linear(..., 1) gives it
    return mse_loss(output, TARGET)[0]


def right_shape() -> Tensor:
    """make the shapes equal. nn.MSELoss() broadcasts as well, but warns."""
    return mse_loss(TARGET[:, None].squeeze(1), TARGET)[0]


def wrong_average() -> Tensor:
    """One image counted as much as four. The batches' means are 1, 1 and 10."""
    batches = torch.tensor([1.0] * 8 + [10]).split(4)  # losses of 9 images
    return sum(batch.mean() for batch in batches) / len(batches)


def right_average() -> Tensor:
    """add up sums, as reduction="sum" gives them, and divide by the images."""
    batches = torch.tensor([1.0] * 8 + [10]).split(4)
    return sum(batch.sum() for batch in batches) / 9


# ---- The lesson -------------------------------------------------------------
def show_numbers() -> None:
    console.section("On paper: outputs 1, 2, 3 and targets 1, 2, 5")
    console.code(reduced, l1_loss, mse_loss)
    console.ask("L1 and MSE, as mean and as sum? Which outputs should change?")
    losses.table([l1_loss, mse_loss], OUTPUT, TARGET)
    console.say(
        "Output 3 is off by 3 - 5 = -2: MSE's gradient there is 2 * -2 / 3. "
        "Minus: the loss falls as it grows. Twice as far off, MSE's gradient "
        "is doubled, and L1's the same. Compared here and in 100 random cases:"
    )
    losses.check(l1_loss, OUTPUT, TARGET)
    losses.check(mse_loss, OUTPUT, TARGET)


def show_logits(label: int) -> None:
    console.section(f"On paper: logits 0.1, 0.2, 0.3 and label {label}")
    console.code(softmax, cross_entropy)
    console.ask("To make the loss small: which logits have to shrink?")
    logits, labels = torch.tensor([[0.1, 0.2, 0.3]]), torch.tensor([label])
    (loss, gradient), p = cross_entropy(logits, labels), softmax(logits)
    columns = logits, logits.exp(), p, F.one_hot(labels, 3), gradient
    losses.columns("logit power p hot gradient", columns)
    console.say(
        f"The sum of the powers is {logits.exp().sum():.6g}. The loss is -ln("
        f"{p[0, label]:.6g}) = {loss:.4f}; ln is the logarithm to base e. The "
        "gradient is simply p - hot, / N = 1: below 0 for the label, whose "
        "logit has to grow; above 0 for all others, which have to shrink."
    )
    losses.check(cross_entropy, logits, labels)


def show_backprop() -> None:
    console.section("On paper: two layers, and back to each weight")
    console.code(backprop)
    console.matrices({n: t.view(-1, t.size(-1)) for n, t in NETWORK.items()})
    console.ask("z, h, logits? One row of w1 gets no gradient: which?")
    loss, back = backprop(*NETWORK.values())
    console.say(
        "z: 1*1 + 1*2 = 3 and 1*1 - 1*2 = -1. h: 3 and 0. Logits: 1*3 + 3 = 6 "
        f"and 2*3 = 6, so p is 0.5 and 0.5, the loss -ln(0.5) = {loss:.4f}."
    )
    console.matrices({n: t for n, t in back.items() if t.dim() == 2}, 1)
    console.say(
        "w2: -0.5 * 3 = -1.5. h: -0.5*1 + 0.5*2 = 0.5 and -0.5*2 + 0.5*1 = "
        "-0.5. z[0, 1] was below 0: ReLU lets nothing back, so w1's row 1 gets "
        "0; row 0: 0.5*1, 0.5*2. With one image, b2's is logits', b1's is z's."
    )
    losses.check_backprop(backprop, tuple(NETWORK.values()))


def show_digits(train: Pair, test: Pair, seed: int) -> tuple:
    console.section("A real batch: 1,500 digits, learned without autograd")
    console.ask("Ten classes, nothing learned yet: what is the loss?")
    parameters = [p.data for p in losses.network(seed).parameters()]
    history = []
    for _ in range(100):
        loss, back = backprop(*train, *parameters)
        for parameter, name in zip(parameters, losses.PARAMETERS, strict=True):
            parameter -= 0.5 * back[name]
        history.append(loss.item())
    net = losses.learned(train, seed)
    console.say(
        f"Loss {history[0]:.2f}. Who knows nothing gives each class 1/10, and "
        "-ln(1/10) = 2.30. Step 100, of 0.5 * gradient, began at "
        f"{loss:.2f}. losses.learned does it with autograd."
    )
    pair = map(nn.utils.parameters_to_vector, (parameters, net.parameters()))
    console.agrees("2,410 float64 numbers = autograd's", *pair, 1e-8)
    each = cross_entropy(net(test[0]), test[1], "none")[0]
    return history, losses.show_worst(each, net, *test)


def run(label: Label = 1, seed: Seed = 0, logdir: LogDir = LOGS) -> None:
    """Write three losses; go back through two layers by hand."""
    console.opening(__doc__)
    console.words(WORDS)
    show_numbers()
    show_logits(label)
    show_backprop()
    train, test = losses.digit_sets()
    history, worst = show_digits(train, test, seed)
    console.mistakes(__name__, RuntimeError, train=train, test=test)
    console.remember(
        "import torch; logits = torch.zeros(3, 10, requires_grad=True)",
        "loss = torch.nn.CrossEntropyLoss()(logits, torch.tensor([3, 1, 4]))",
        "loss.backward()  # logits.grad is (softmax - one-hot) / 3",
    )
    console.say(
        "Exercise: logits 100, 110, 120 and label 1 give nan: e to the power "
        "of 100 is infinite in float32. Write a cross_entropy that gives 10. "
        "To test it: from shared.practice.losses import check; "
        "check(cross_entropy)"
    )
    with board("loss-demo", logdir, "SCALARS: loss/train; IMAGES") as writer:
        for step, loss in enumerate(history):
            writer.add_scalar("loss/train", loss, step)
        writer.add_figure("worst", worst)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
