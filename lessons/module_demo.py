"""Modules by hand.

A network in PyTorch is an object whose class inherits from nn.Module. You
write __init__, which assigns what it keeps, and forward, which computes.
You inherit what finds the tensors that training changes, and the call:
    model(x) = model.forward(x), and then hook(model, (x,), output), if any

    python cli.py module-demo --step
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from shared import console
from shared.board import board
from shared.hooks import grey_photo, noted, show_grey, walked
from shared.options import LOGS, LogDir, Seed

WORDS = {
    "module": "an object that keeps tensors and other modules; you call it",
    "layer": "a module as one step of a network: a tensor in, a tensor out",
    "parameter": "a tensor that training changes, such as a weight or a bias",
    "buffer": "a tensor that a module keeps, and that no gradient changes",
    "forward": "the method that computes a module's output from its input",
    "hook": "a function of yours that a module calls each time it is called",
}
Steps = Annotated[int, typer.Option(min=1, max=9999, help="Steps to learn.")]
LOOK = "IMAGES: grey; SCALARS: weight"


# ---- By hand ----------------------------------------------------------------
class Module:
    def __init__(self) -> None:
        self._parameters, self._modules, self._hooks = {}, {}, []

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)  # what self.name = value does
        if isinstance(value, nn.Parameter):
            self._parameters[name] = value
        if isinstance(value, Module):
            self._modules[name] = value

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield from self._parameters.items()
        for place, module in self._modules.items():
            for name, parameter in module.named_parameters():
                yield f"{place}.{name}", parameter

    def parameters(self) -> Iterator[nn.Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def register_forward_hook(self, hook: Callable) -> None:
        self._hooks.append(hook)

    def __call__(self, *inputs: Tensor) -> Tensor:  # model(x) calls this
        output = self.forward(*inputs)
        for hook in self._hooks:
            hook(self, inputs, output)
        return output


def network(base: type) -> Any:  # base: Module or nn.Module
    class AddOne(base):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.tensor(1.0))  # it requires grad

        def forward(self, x: Tensor) -> Tensor:
            return x + self.bias

    class Triple(base):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(3.0))
            self.add = AddOne()

        def forward(self, x: Tensor) -> Tensor:
            return self.weight * self.add(x)

    return Triple()


def learn(model: Any, x: Tensor, wanted: Tensor, steps: int) -> Tensor:
    """Take steps downhill; return the loss before the last one."""
    for _ in range(steps):
        loss = ((model(x) - wanted) ** 2).mean()
        loss.backward()
        for parameter in model.parameters():
            with torch.no_grad():  # the step needs no gradient of its own
                parameter -= 0.9 * parameter.grad
            parameter.grad = None  # backward() adds to what is there
    return loss.detach()


# ---- Mistakes ---------------------------------------------------------------
def wrong_empty() -> nn.Module:
    """super().__init__() is missing. It makes the dictionaries."""

    class AddOne(nn.Module):
        def __init__(self) -> None:
            self.bias = nn.Parameter(torch.tensor(1.0))

    return AddOne()


def right_empty() -> nn.Module:
    """make super().__init__() the first line, as in network's AddOne."""
    return network(nn.Module).add


def wrong_pair() -> int:
    """A list is no module. These layers compute, but no step changes them."""
    model = nn.Module()
    model.layers = [nn.Linear(2, 2), nn.Linear(2, 1)]
    return len([*model.parameters()])


def right_pair() -> int:
    """nn.ModuleList is a list and a module: two weights, two biases."""
    model = nn.Module()
    model.layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 1)])
    return len([*model.parameters()])


def wrong_one() -> Tensor:
    """forward stands inside __init__, and is gone when that ends."""

    class Add(nn.Module):
        def __init__(self) -> None:
            super().__init__()

            def forward(self: Any, x: Tensor) -> Tensor:
                return x + 1

    return Add()(torch.tensor(1.0))


def right_one() -> Tensor:
    """indent it as far as def __init__, as in network's AddOne."""
    return network(nn.Module).add(torch.tensor(1.0))


def wrong_minus() -> Tensor:
    """You made a layer, and called none. It took the tensor for an option."""
    return nn.ReLU(torch.tensor(-1.0))  # ReLU: negative numbers become 0


def right_minus() -> Tensor:
    """the first parentheses make the layer, the second call it."""
    return nn.ReLU()(torch.tensor(-1.0))


# ---- The lesson -------------------------------------------------------------
def show_paper_case() -> None:
    console.section("A case small enough for paper")
    console.code(Module, network)
    console.ask("x is 1. What comes out? Which names are found?")
    cases = [(torch.tensor([3.0, 1.0]), torch.tensor(1.0))]
    cases += [(torch.randn(2), torch.randn(())) for _ in range(100)]
    found, names = [], []
    for base in (Module, nn.Module):
        walks = [walked(network(base), *case) for case in cases]
        found.append(torch.stack(walks))
        names.append(" and ".join(dict(network(base).named_parameters())))
    console.say(
        "With x = 1, AddOne makes 1 + 1 = 2, and Triple 3 * 2 = "
        f"{found[0][0, 0]:.0f}. Module finds {names[0]}, nn.Module "
        f"{names[1]}. A change of weight reaches the output times 2, one of "
        "bias times 3: their gradients."
    )
    console.agrees("all these = nn.Module's; 100 random ones, too", *found, 0)


def show_hooks() -> None:
    console.section("Why model(x), and not model.forward(x)")
    ours, theirs = (
        [noted(network(base), way) for way in ("__call__", "forward")]
        for base in (Module, nn.Module)
    )
    console.say(
        "A hook on AddOne and one on Triple list the outputs: model(x) "
        f"leaves {ours[0]}."
    )
    console.ask("And what does model.forward(x) leave there?")
    console.say(
        f"model.forward(x) gives 6, too, but leaves {ours[1]}: Triple's hook "
        "is passed by. AddOne's is not: Triple's forward calls self.add(x)."
    )
    pair = (torch.tensor([*a, *b]) for a, b in (ours, theirs))
    console.agrees("Module's notes = nn.Module's", *pair, 0)
    console.say(
        "Some layers compute differently while a model learns. model.train() "
        "and model.eval() tell them, by making self.training True or False."
    )


def run(seed: Seed = 0, steps: Steps = 5000, logdir: LogDir = LOGS) -> None:
    """Write Module by hand, then let one learn what grey is."""
    torch.manual_seed(seed)
    console.opening(__doc__)
    console.words(WORDS)
    show_paper_case()
    show_hooks()
    console.section("A real picture: how does Pillow make a photo grey?")
    model = nn.Linear(3, 1)
    model.register_buffer("mean", grey_photo()[0].mean((0, 1)))
    console.say(
        "nn.Linear(3, 1) is a layer of PyTorch's: 3 weights * 3 inputs, added "
        "up, plus a bias. The inputs are a pixel's red, green and blue, less "
        'their means: a buffer, by model.register_buffer("mean", ...).'
    )
    console.ask("Will red, green and blue get equal weights?")
    with board("module-demo", logdir, LOOK) as writer:
        off = show_grey(model, learn, steps, writer)
        console.say(
            "learn() goes downhill as in autograd-demo, with what parameters() "
            "gives; so the buffer stayed. Pillow's own weights are 0.299, "
            "0.587, 0.114: green counts most. The largest difference from its "
            f"grey, which is rounded, is {off:.1f} of 255."
        )
        console.mistakes(__name__, (AttributeError, NotImplementedError))
        console.remember(
            "import torch; model = torch.nn.Linear(3, 1)  # or your own class",
            "output = model(torch.rand(5, 3))  # not model.forward(...)",
            "for name, p in model.named_parameters(): print(name, p.shape)",
        )
        console.say(
            "Exercise: in nn.Module, what a hook returns, unless None, "
            "replaces the output. Teach Module that: if AddOne's hook returns "
            "10 * output, Triple gives 60."
        )
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
