"""Activations by hand.

A linear layer, nn.Linear, sums up weight * input and adds a bias. Two of
them do no more than one, unless an activation stands between: a function f
of one number. ReLU(x) = max(x, 0) keeps 3, turns -1 into 0.
When a network learns, the gradient comes back through f:
    gradient at the input = f'(input) * gradient at the output

    python cli.py activation-demo --step
"""

import torch
import typer
from torch import Tensor, erf, exp, nn, pi
from torch.nn import functional as F

from shared import console, figures
from shared.board import board
from shared.datasets.embedded import digits
from shared.options import LOGS, Epochs, LogDir
from shared.seeds import over_seeds, say_leaders, spread_table

WORDS = {
    "activation": "a function of one number between two layers, as above",
    "ReLU": "max(x, 0). ResNet, a network for images, is full of it",
    "sigmoid": "1 / (1 + exp(-x)), a number between 0 and 1",
    "derivative": "f'(x), how fast f(x) grows at x; for f(x) = 3 * x it is 3",
    "saturation": "where f(x) hardly grows any more: f'(x) is nearly 0",
    "seed": "a number that fixes all random draws, such as first weights",
}
Pair, Learned = tuple[Tensor, Tensor], tuple[nn.Module, Tensor]
X, BACK = torch.tensor([[[1, -0.5], [-1, 3]], [[10, 20], [30, 40]]])
W1, W2 = torch.tensor([[1.0], [-1]]), torch.tensor([[2.0, 1]])
TASKS = {"rings, lr 0.2": 0, "digits, lr 0.05": 1, "digits, lr 0.2": 2}


# ---- By hand ----------------------------------------------------------------
def relu(x: Tensor) -> Pair:
    """f(x) and f'(x). At 0 the line has a corner: PyTorch takes f'(0) = 0."""
    return x.where(x > 0, 0), torch.ones_like(x).where(x > 0, 0)


def leaky_relu(x: Tensor) -> Pair:
    return x.where(x > 0, 0.01 * x), torch.ones_like(x).where(x > 0, 0.01)


def sigmoid(x: Tensor) -> Pair:
    value = 1 / (1 + exp(-x))
    return value, value * (1 - value)


def tanh(x: Tensor) -> Pair:
    value = (exp(x) - exp(-x)) / (exp(x) + exp(-x))
    return value, 1 - value**2


def gelu(x: Tensor) -> Pair:
    share = (1 + erf(x / 2**0.5)) / 2  # of a bell curve's area, left of x
    bell = exp(-x * x / 2) / (2 * pi) ** 0.5  # the derivative of share
    return x * share, share + x * bell


BY_HAND = dict(
    ReLU=relu, LeakyReLU=leaky_relu, Sigmoid=sigmoid, Tanh=tanh, GELU=gelu
)
NAMES = ["Identity", *BY_HAND]  # nn.Identity changes nothing: no activation


def gradient_shares(activation: str, seed: int, examples: Pair) -> Tensor:
    """The gradient's size at ten linear layers' outputs; layer 10's is 1."""
    torch.manual_seed(seed)  # the same seed, the same first weights
    images, labels = examples
    bend = getattr(nn, activation)()
    outputs = [nn.Linear(64, 64)(images)]
    for width in [64] * 8 + [10]:
        outputs.append(nn.Linear(64, width)(bend(outputs[-1])))
    loss = F.cross_entropy(outputs[-1], labels)  # how far off is the last?
    gradients = torch.autograd.grad(loss, outputs)
    sizes = torch.stack([g.norm() for g in gradients])  # root of squares' sum
    return sizes / sizes[9]


def learn(name: str, seed: int, task: Pair, lr: float, epochs: int) -> Learned:
    """Learn from 1,500 examples. How many % of the other 297 are right?"""
    torch.manual_seed(seed)
    inputs, labels = task
    bend = getattr(nn, name)()
    first, second = nn.Linear(inputs.size(1), 64), nn.Linear(64, 64)
    model = nn.Sequential(first, bend, second, bend, nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    for _ in range(epochs):  # train-cifar explains this loop
        for some in torch.randperm(1500).split(100):  # 100 a step
            loss = F.cross_entropy(model(inputs[some]), labels[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    right = model(inputs[1500:]).argmax(1) == labels[1500:]
    return model, 100 * right.double().mean()


# ---- Mistakes ---------------------------------------------------------------
def wrong_two_in_a_row() -> Tensor:
    """inplace=True writes ReLU's result over sigmoid's output y, but sigmoid's
    derivative, y * (1 - y), needs y. PyTorch counts how often y is written to,
    its version: even 0.5 over 0.5 counts. The hint leads to y's line, above."""
    x = torch.tensor(0.0, requires_grad=True)
    y = torch.sigmoid(x)
    F.relu(y, inplace=True).backward()
    return x.grad


def right_two_in_a_row() -> Tensor:
    """leave out this ReLU, as y is never below 0, or only inplace. It saves
    memory, and nn.Linear needs no output y to find gradients, but what used y
    before may fail as here, what does later gets max(y, 0). Now: f'(0)."""
    x = torch.tensor(0.0, requires_grad=True)
    torch.sigmoid(x).backward()
    return x.grad


# ---- The lesson -------------------------------------------------------------
def pytorchs(name: str, x: Tensor, back: Tensor) -> Tensor:
    """torch.nn's f(x), and autograd's gradient for back at the output."""
    x = x.clone().requires_grad_()
    value = getattr(nn, name)()(x)
    return torch.stack([value, *torch.autograd.grad(value, x, back)]).detach()


def show_five() -> None:
    console.section("A case small enough for paper")
    console.matrices({"x": X, "gradient at the output": BACK}, digits=1)
    console.ask("What is ReLU(x)? What of the gradient gets to the input?")
    console.code(relu)
    value, derivative = relu(X)
    ours = {"ReLU(x)": value, "gradient at the input": derivative * BACK}
    console.matrices({"f'(x)": derivative} | ours, digits=1)
    console.say("The first row at the input is 1 * 10 = 10 and 0 * 20 = 0.")
    pair = torch.stack(list(ours.values())), pytorchs("ReLU", X, BACK)
    console.agrees("relu = nn.ReLU, gradient = autograd's", *pair, 0)
    console.section("Four more, and how fast they grow")
    console.code(leaky_relu, sigmoid, tanh, gelu)
    x = torch.tensor([-4.0, -1, 0, 1, 4])
    rows = [(n, *(f"{v:.3f}" for v in f(x)[1])) for n, f in BY_HAND.items()]
    console.table(["f'(x)", *(f"x = {v:g}" for v in x)], rows)
    console.say("Sigmoid's f' is at most 0.25; at 4, in saturation, nearly 0.")
    x = torch.cat([torch.linspace(-80, 80, 161), torch.randn(1000)])
    five = {n: torch.stack(f(x)) for n, f in BY_HAND.items()}
    theirs = {n: pytorchs(n, x, torch.ones_like(x)) for n in BY_HAND}
    console.agrees("f = torch.nn's, f' = autograd's", five, theirs, 1e-5)


def show_two_layers(digits: Tensor) -> None:
    console.section("Claim 1: without an activation, two layers are one")
    x = torch.tensor([[-2.0, 0, 3]])
    console.matrices({"x": x, "W1": W1, "W1 @ x": W1 @ x, "W2": W2})
    console.say("x: three inputs. W1, W2: weights of layers without biases.")
    console.say("W1 @ x, each row times each column, is 1 * x and -1 * x.")
    console.ask("Which single layer, weight * x, does the same as both?")
    two = {"W2 @ (W1 @ x)": W2 @ (W1 @ x)}
    one = {"(W2 @ W1) @ x": (W2 @ W1) @ x}
    bent = {"W2 @ relu(W1 @ x)": W2 @ relu(W1 @ x)[0]}
    console.matrices(two | one | bent)
    console.say("W2 @ W1 is 2 * 1 + 1 * -1 = 1: a single layer of weight 1.")
    console.say("With ReLU 2, 0, 6: down, then up. No weight * x does that.")
    a, b = nn.Linear(64, 32), nn.Linear(32, 10)
    two["digits"] = b(a(digits))
    one["digits"] = F.linear(digits, b.weight @ a.weight, bias=b(a.bias))
    console.agrees("two layers = one, with biases too", two, one, 1e-5)


def show_signal(examples: Pair) -> dict[str, Tensor]:
    console.section("Claim 2: sigmoids let little gradient through")
    console.say("Digits pass ten linear layers. Identity is no activation.")
    console.code(gradient_shares)
    console.ask("Sigmoid's f' is at most 0.25. How much passes nine of them?")
    shares = over_seeds(lambda *net: gradient_shares(*net, examples), NAMES)
    spread_table({"at layer 5": 4, "at layer 1": 0}, shares, ".0e")
    none, sigmoids = (shares[n][:, 0].median() for n in ("Identity", "Sigmoid"))
    console.say("Identity's f' is 1, but PyTorch's first weights let about")
    console.say(f"3 ** -0.5 = 0.58 through: 0.58 ** 9 = {0.58**9:.0e}.")
    console.say(f"Nine sigmoids let at most 0.25 ** 9 = {0.25**9:.0e} through.")
    console.say(f"Product: {0.25**9 * none:.0e}. Measured: {sigmoids:.0e}.")
    console.say("Weights * 3 ** 0.5: Identity about 1, Sigmoid only 2e-06.")
    return shares


def show_learning(images: Pair, epochs: int) -> list[dict[str, Tensor]]:
    console.section("Claims 3, 4: some tasks need an activation; one wins all")
    ring = torch.arange(1797) % 2
    points = F.normalize(torch.randn(1797, 2)) * (1 + ring[:, None])
    rings = points + 0.1 * torch.randn(1797, 2), ring
    console.say("Three linear layers learn from 1,500 examples. 297 test them.")
    console.say("rings: is a point on the inner or on the outer of two rings?")
    console.say("digits: which of 0 to 9? lr, the learning rate, scales steps.")
    console.ask("How many % are right without an activation? Which is best?")
    tasks = (rings, 0.2, epochs), (images, 0.05, epochs), (images, 0.2, epochs)
    right = over_seeds(lambda *n: [learn(*n, *t)[1] for t in tasks], NAMES)
    spread_table(TASKS, right, ".1f")
    nets = {n: learn(n, 0, *tasks[0])[0] for n in NAMES[:2]}
    planes = {n: figures.plane(net, *rings) for n, net in nets.items()}
    console.pictures(planes, "rings", width=36)
    console.say("White: taken for outer. Guessing: 50 %, for digits 10 %.")
    console.say("By claim 1 Identity is one layer: a straight border, or none.")
    console.say("Of rings it gets 1/3 to 2/3 right, wherever it lies.")
    say_leaders("claim 4", TASKS, right)
    console.say(f"After {epochs} rounds. Can Sigmoid learn? Try --epochs 20.")
    return [right, planes]


def run(epochs: Epochs = 5, logdir: LogDir = LOGS) -> None:
    """Write five activations, then measure four claims."""
    torch.manual_seed(0)
    console.opening(__doc__)
    console.words(WORDS)
    show_five()
    images, labels = zip(*((s.images, s.labels) for s in digits()), strict=True)
    examples = torch.cat(images).flatten(1) / 255, torch.cat(labels)
    show_two_layers(examples[0])
    shares = show_signal(examples)
    right, planes = show_learning(examples, epochs)
    console.mistakes(__name__, raises=RuntimeError)
    console.remember(
        "from torch import nn, rand  # without nn.ReLU net is one layer",
        "net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))",
        "net(rand(8, 2)).shape  # (8, 2); no activation after the last layer",
    )
    far = tanh(torch.tensor([100.0, -100]))[0].tolist()
    console.say(f"Exercise: our tanh(100), tanh(-100) are {far}. Mend it")
    console.say("in lessons/activation_demo.py, until this says [1.0, -1.0].")
    with board("activation-demo", logdir, "IMAGES, four figures") as writer:
        writer.add_figure("functions", figures.functions_figure(BY_HAND))
        writer.add_figure("signal", figures.layers_figure(shares))
        writer.add_figure("rings", figures.planes_figure(planes))
        writer.add_figure("scores", figures.spread_figure(TASKS, right))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
