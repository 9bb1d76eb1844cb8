"""Modules by hand.

A network in PyTorch is an object whose class inherits from nn.Module. You
write __init__, which assigns what it keeps, and forward, which computes.
You inherit named_parameters(), a search for all that training changes, and
a call. It runs forward, then the hooks: functions that you hung on it.
    model(x) = model.forward(x), and then hook(model, (x,), output)

    python cli.py module-demo --step
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from shared import console
from shared.board import board
from shared.hooks import show_grey, walked
from shared.options import LOGS, LogDir, Seed

WORDS = {
    "module": "an object that keeps tensors and modules (not a file, here)",
    "layer": "a module as one step of a network: a tensor in, a tensor out",
    "parameter": "what training changes: a weight (multiplies), a bias (added)",
    "buffer": "a tensor moved and saved with its module, but not trained",
    "forward": "the method that computes a module's output from its input",
    "hook": "a function of yours that a module runs after its forward",
}
Steps = Annotated[int, typer.Option(min=1, max=9999, help="Steps to learn.")]


# ---- By hand ----------------------------------------------------------------
class Module:
    def __init__(self) -> None:
        self._parameters, self._modules, self._hooks = {}, {}, []

    def __setattr__(self, name: str, value: Any) -> None:  # self.bias = ...
        super().__setattr__(name, value)  # keep it, as any object does
        if isinstance(value, nn.Parameter):
            self._parameters[name] = value
        if isinstance(value, Module):
            self._modules[name] = value

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield from self._parameters.items()
        for place, module in self._modules.items():
            for name, parameter in module.named_parameters():
                yield f"{place}.{name}", parameter

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


def noted(model: Any, call: Callable) -> Tensor:
    notes = []
    for module in (model, model.add):  # a hook sees module, inputs, output
        module.register_forward_hook(lambda *seen: notes.append(seen[2]))
    call(torch.tensor(1.0))
    return torch.stack(notes).detach()


def learn(model: Any, x: Tensor, wanted: Tensor, steps: int) -> Tensor:
    """Take steps downhill; return the loss before the last one."""
    for _ in range(steps):
        loss = ((model(x) - wanted) ** 2).mean()
        loss.backward()
        for _, parameter in model.named_parameters():
            with torch.no_grad():  # the step needs no gradient of its own
                parameter -= 0.9 * parameter.grad
            parameter.grad = None  # backward() adds to what is there
    return loss.detach()


# ---- Mistakes ---------------------------------------------------------------
def wrong_empty() -> Tensor:
    """super().__init__() is missing. It makes nn.Module's dictionaries."""

    class Add(nn.Module):
        def __init__(self) -> None:
            self.bias = nn.Parameter(torch.tensor(1.0))

    return Add().bias


def tempting_empty() -> Tensor:
    """make super().__init__() the first line, and write forward below it."""

    class Add(nn.Module):
        def __init__(self) -> None:
            super().__init__()

            def forward(self: Any, x: Tensor) -> Tensor:
                return x + 1

    return Add()(torch.tensor(1.0))


def right_empty() -> Tensor:
    """indent def forward like def __init__. Inside, it is a local name."""
    return network(nn.Module).add(torch.tensor(1.0))


def wrong_pair() -> list[str]:
    """A list is no module. The search passes it by: no step changes these."""
    model = nn.Module()
    model.layers = [nn.Linear(2, 2), nn.Linear(2, 1)]
    return [name for name, _ in model.named_parameters()]


def right_pair() -> list[str]:
    """nn.ModuleList is a module, used like a list."""
    model = nn.Module()
    model.layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 1)])
    return [name for name, _ in model.named_parameters()]


def wrong_minus() -> Tensor:
    """You made a layer, and called none; the tensor became an option of it."""
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
    cases += [(torch.randn(2), torch.randn(())) for _ in range(99)]
    found, names = [], set()
    for base in (Module, nn.Module):
        walks = [walked(network(base), *case) for case in cases]
        found.append(torch.stack(walks))
        names.add(" and ".join(dict(network(base).named_parameters())))
    console.say(
        f"With x = 1, AddOne makes 1 + 1 = 2, Triple 3 * 2 = {found[0][0, 0]}. "
        f"Both bases find {' / '.join(names)}, the bias in self.add. "
        "A change of weight reaches the output times 2, one of bias times 3: "
        "their gradients. Both do the same sums: expect differences of 0. "
        "nn.Module has parameters(), too: it leaves out the names."
    )
    console.agrees("These and 99 random cases = nn.Module's", *found, 0)


def show_hooks() -> None:
    console.section("Why model(x), and not model.forward(x)")
    console.code(noted)
    models = [network(base) for base in (Module, nn.Module)]
    called = [noted(model, model) for model in models]
    passed = [noted(model, model.forward) for model in models]
    console.say(f"noted(model, model): {called[0].tolist()}, AddOne's first.")
    console.ask("And what does noted(model, model.forward) give?")
    console.say(
        f"model.forward(x) is 6, too, but only {passed[0].tolist()} is noted: "
        "Triple's hook is passed by. AddOne's is not: Triple calls "
        "self.add(x). A hook draws the next pictures."
    )
    pair = map(torch.cat, zip(called, passed, strict=True))
    console.agrees("Module's notes = nn.Module's", *pair, 0)
    console.say(
        "model.eval() makes self.training False in model and all in it, and "
        "model.train() True. save-load-demo has a layer that looks at it."
    )


def run(seed: Seed = 0, steps: Steps = 5000, logdir: LogDir = LOGS) -> None:
    """Write Module by hand, then let one learn what grey is."""
    torch.manual_seed(seed)
    console.opening(__doc__)
    console.words(WORDS)
    show_paper_case()
    show_hooks()
    console.section("A real picture: how does Pillow make a photo grey?")
    model = nn.Linear(3, 1, bias=False)
    console.say(
        "The layer nn.Linear(3, 1, bias=False) adds up 3 weights, random at "
        "first, * a pixel's red, green and blue. A buffer holds those of "
        'Pillow\'s manual: model.register_buffer("manual", torch.tensor(...)).'
    )
    model.register_buffer("manual", torch.tensor([0.299, 0.587, 0.114]))
    console.ask("Will red, green and blue get equal weights?")
    with board("module-demo", logdir, "IMAGES; SCALARS: weight") as writer:
        off = show_grey(model, learn, steps, writer)
        console.say(
            "learn() steps towards Pillow's greys; named_parameters() gives it "
            "the weights, and not the buffer. Green counts most. Our greys are "
            f"up to {off:.1f} of 255 off. Pillow rounds its own by up to 0.5: "
            "even 9,999 steps leave weights 0.001 off."
        )
        console.mistakes(__name__, (AttributeError, NotImplementedError))
        console.remember(
            "import torch; model = torch.nn.Linear(3, 1)  # or your own class",
            "output = model(torch.rand(5, 3))  # not model.forward(...)",
            "for name, p in model.named_parameters(): print(name, p.shape)",
        )
        console.say(
            "Exercise: in nn.Module, what a hook returns, unless None, "
            "replaces the output. Give class Mine(Module) such a __call__, in "
            "a file beside cli.py that imports lessons.module_demo. The hook "
            "lambda *seen: 10 * seen[2] on network(Mine)'s add makes 60 of 1."
        )
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
