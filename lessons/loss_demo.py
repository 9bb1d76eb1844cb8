"""Losses by hand, and the way back to the weights.

A loss says how far n outputs are from their targets (what they should be).
Its gradient says how each output changes the loss (off = output - target):
    L1    mean of |off|    gradient: (sign of off: -1, 0 or 1) / n
    MSE   mean of off²     gradient: 2 * off / n  (mean squared error)
For classes it is cross-entropy. Backpropagation is the chain rule, from the
loss back to each weight: it tells training which way to change each.

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

WORDS = {
    "loss": "a number for how wrong outputs are; training makes it small",
    "reduction": "what becomes of many losses: mean, sum, or none (all kept)",
    "logits": "outputs of a network, one for each class, before softmax",
    "softmax": "turns logits into probabilities: 0 to 1, their sum is 1",
    "one-hot": "a label as a row: 1 at its class's place, 0 at the others",
    "cross-entropy": "-ln of the label's probability (ln: log to base e)",
}
Pair = tuple[Tensor, Tensor]
Label = Annotated[int, typer.Option(min=0, max=2, help="The right class.")]
OUTPUT, TARGET = torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 2, 5])
NETWORK = {
    "image": torch.tensor([[1.0, 2]]), "label": torch.tensor([0]),
    "w1": torch.tensor([[1.0, 1], [1, -1]]), "b1": torch.tensor([0.0, 0]),
    "w2": torch.tensor([[1.0, 2], [2, 1]]), "b2": torch.tensor([3.0, 0]),
}  # fmt: skip


# ---- By hand ----------------------------------------------------------------
def reduced(each: Tensor, gradients: Tensor, reduction: str) -> Pair:
    n = each.numel() if reduction == "mean" else 1  # how many losses
    loss = each if reduction == "none" else each.sum()
    return loss / n, gradients / n


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


def backprop(images: Tensor, labels: Tensor, *parameters: Tensor) -> tuple:
    w1, b1, w2, b2 = parameters
    z = images @ w1.T + b1  # forward: (N, inputs) to (N, hidden)
    h = z * (z > 0)  # ReLU
    logits = h @ w2.T + b2  # (N, classes)
    back = {}  # the loss's gradient for each value, the last value first
    loss, back["logits"] = cross_entropy(logits, labels)
    back["w2"] = back["logits"].T @ h  # @ adds up over the images
    back["b2"] = back["logits"].sum(0)  # over the images, here one
    back["h"] = back["logits"] @ w2  # chain rule: add up all paths
    back["z"] = back["h"] * (z > 0)  # where ReLU let z through
    back["w1"] = back["z"].T @ images
    back["b1"] = back["z"].sum(0)
    return loss, back


# ---- Mistakes ---------------------------------------------------------------
def wrong_ends(train: Pair, test: Pair) -> str:
    """Softmax came twice: cross-entropy makes it itself. Gradients begin about
    ten times smaller. With steps of 5 * gradient, over 90% are read right."""
    return losses.read_right(train, test, nn.Softmax(1))  # 100 steps, test


def right_ends(train: Pair, test: Pair) -> str:
    """end with logits; for probabilities to look at, net(images).softmax(1)."""
    return losses.read_right(train, test)


def wrong_kind() -> Tensor:
    """One label an image has to be int64 (Long) or uint8 (Byte), not int32
    either. Floats are for a row an image, such as a one-hot row."""
    return F.cross_entropy(torch.zeros(2, 3), torch.tensor([0.0, 2.0]))


def right_kind() -> Tensor:
    """add .long(). Three equal logits: -ln(1/3) = 1.0986."""
    return F.cross_entropy(torch.zeros(2, 3), torch.tensor([0.0, 2.0]).long())


def wrong_shape() -> Tensor:
    """It should be 0. Broadcasting made it 9 squares, of each output minus each
    target: 52 / 9. Training would bring each output to the mean, 8 / 3."""
    output = TARGET[:, None]  # (3, 1), as nn.Linear(..., 1) gives it
    return mse_loss(output, TARGET)[0]


def right_shape() -> Tensor:
    """squeeze(1) drops the size 1. nn.MSELoss() broadcasts too, but warns."""
    return mse_loss(TARGET[:, None].squeeze(1), TARGET)[0]


def wrong_average() -> Tensor:
    """The last loss counts as four: means of 4, 4, 1 give (1 + 1 + 10) / 3."""
    batches = torch.tensor([1.0] * 8 + [10]).split(4)  # losses of 9 images
    return sum(batch.mean() for batch in batches) / len(batches)


def right_average() -> Tensor:
    """add up sums (reduction="sum"), divide by the number of images: 18 / 9."""
    batches = torch.tensor([1.0] * 8 + [10]).split(4)
    return sum(batch.sum() for batch in batches) / 9


# ---- The lesson -------------------------------------------------------------
def show_numbers() -> None:
    console.section("On paper: outputs 1, 2, 3 and targets 1, 2, 5")
    console.code(reduced, mse_loss)
    console.ask("L1 and MSE, as mean and as sum? Which outputs should change?")
    losses.table([l1_loss, mse_loss], OUTPUT, TARGET)
    console.say(
        "Only the third output is off, by -2. L1: 2 / 3, gradient -1 / 3. MSE: "
        "4 / 3, gradient -4 / 3. Minus: if that output grows, the loss falls. "
        "Off by -4, only MSE's gradient doubles. Here and in 100 random cases:"
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
    own, power, total = p[0, label], logits.exp()[0, label], logits.exp().sum()
    console.say(
        f"The label's p is {power:.6g} / {total:.6g} (the powers' sum) = "
        f"{own:.6g}, the loss -ln({own:.6g}) = {loss:.4f}. Why p - hot? As "
        "ln(a / b) = ln(a) - ln(b), the loss is ln(sum of powers) - the "
        "label's logit. Their derivatives: power / sum = p, and hot. Only the "
        "label's p - hot is below 0: its logit has to grow, the others shrink."
    )
    losses.check(cross_entropy, logits, labels)


def show_backprop() -> None:
    console.section("On paper: two layers, and back to each weight")
    console.code(backprop)
    console.matrices({n: t.view(-1, t.size(-1)) for n, t in NETWORK.items()})
    console.ask("z, h, logits? One row of w1 gets gradient 0: which?")
    loss, back = backprop(*NETWORK.values())
    console.say(
        "z: 1*1 + 1*2 = 3 and 1*1 - 1*2 = -1. h: 3 and 0. Logits: 1*3 + 2*0 + "
        f"3 = 6 and 2*3 + 1*0 = 6. p: 0.5, -ln(0.5) = {loss:.4f}. Gradients:"
    )
    console.matrices({n: t for n, t in back.items() if t.dim() == 2}, 1)
    console.say(
        "logits: p - hot. w2, top left: -0.5*3. h, first: -0.5*1 + 0.5*2. The "
        "second z was below 0: ReLU lets nothing back, and w1's second row gets"
        " 0. The first: 0.5*1, 0.5*2. b2: as logits, b1: as z (one image)."
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
    net = losses.learned(train, seed)  # with autograd
    console.say(
        f"Loss {history[0]:.2f}. Who knows nothing gives each class 1/10, and "
        "-ln(1/10) = 2.30. After 99 steps (parameter - 0.5 * its gradient): "
        f"{loss:.2f}, as if each label had p = {(-loss).exp():.2f}. Autograd "
        "finds the same 64*32 + 32 + 32*10 + 10 numbers (float64, 16 digits):"
    )
    pair = map(nn.utils.parameters_to_vector, (parameters, net.parameters()))
    console.agrees("2,410 parameters = autograd's", *pair, 1e-8)
    return history, losses.show_worst(cross_entropy, net, *test)


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
        "loss = nn.CrossEntropyLoss()(logits, labels)  # labels are int64",
        "loss.backward()  # adds to each .grad what backprop found by hand",
        "nn.MSELoss(), nn.L1Loss(): outputs and targets of one shape",
    )
    console.say(
        "Exercise: logits 100, 110, 120, label 1 give nan: float32 can't hold "
        "e^100. Write f, a cross_entropy that gives 10, and 200 for 0, 200, 0, "
        "label 0. In a file beside cli.py: "
        "from shared.practice.losses import check_large; check_large(f)"
    )
    with board("loss-demo", logdir, "SCALARS: loss/train; IMAGES") as writer:
        for step, loss in enumerate(history):
            writer.add_scalar("loss/train", loss, step)
        writer.add_figure("worst", worst)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
