"""Cases for lessons/module_demo.py."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lessons import module_demo as lesson
from shared.hooks import walked
from shared.practice.cases import Cases, call

PAPER = Tensor([3, 1]), torch.tensor(1.0)  # weight and add.bias, x


def Module() -> Cases:
    """__call__ gives its inputs to self.forward, and returns the output.

    __init__ makes empty dictionaries. __setattr__ keeps each value as any
    object does (super().__setattr__), and notes it there if it is a parameter
    or a Module.

    named_parameters gives its own first. Then it asks each module that it
    keeps, and puts that one's name and a dot before each name.

    __call__ runs the hooks after forward: hook(self, inputs, output).
    """
    yield call(), _adds_one
    yield call(), _finds_its_own
    yield call(), _is_like_pytorch_s
    yield call(), _finds_deep_ones
    yield call(), _runs_its_hooks
    for seed in range(20):
        yield call(), partial(_is_a_tree_like_pytorch_s, seed)


def _adds_one(module: Any) -> None:
    class AddOne(type(module)):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    for x in (torch.tensor(1.0), torch.empty(0), torch.ones(2, 3).half().T):
        _same(AddOne()(x), x + 1, "AddOne's output")
    assert not _names(AddOne()), "it has no parameter"


def _same(found: Tensor, expected: Tensor, what: str) -> None:
    told = f"{what}: {found}, not {expected}"
    assert found.shape == expected.shape, told
    torch.testing.assert_close(found, expected, rtol=0, atol=0, msg=told)


def _names(module: Any) -> list[str]:
    return [name for name, _ in module.named_parameters()]


def _finds_its_own(module: Any) -> None:
    module.weight = nn.Parameter(torch.ones(2, 3).T)
    module.plain = torch.ones(2)
    module.number = 3
    module.layers = [type(module)()]
    module.bias = nn.Parameter(torch.zeros(0).double())
    assert _names(module) == ["weight", "bias"], _names(module)
    places = [id(parameter) for _, parameter in module.named_parameters()]
    wanted = [id(module.weight), id(module.bias)]
    assert places == wanted, "named_parameters() must give weight, bias"
    assert (module.number, len(module.plain)) == (3, 2), "plain values are lost"
    assert not _names(type(module)()), "a new Module has another's parameters"


def _is_like_pytorch_s(module: Any) -> None:
    ours, theirs = (lesson.network(base) for base in (type(module), nn.Module))
    assert _names(ours) == _names(theirs), _names(ours)
    _same(walked(ours, *PAPER), Tensor([6, 2, 3]), "output and gradients")


def _finds_deep_ones(module: Any) -> None:
    kind = type(module)
    module.a, module.a.b, module.a.b.c = (inner := kind()), kind(), kind()
    module.a.b.c.weight = nn.Parameter(torch.ones(1))
    module.last = nn.Parameter(torch.ones(1))
    assert inner is module.a, "module.a isn't what was assigned"
    assert _names(module) == ["last", "a.b.c.weight"], _names(module)
    assert _names(inner) == ["b.c.weight"], _names(inner)


def _runs_its_hooks(module: Any) -> None:
    model, notes = lesson.network(type(module)), []
    for name in ("first", "second"):
        model.register_forward_hook(
            lambda *seen, name=name: notes.append((name, *seen))
        )
    x = torch.tensor(1.0)
    output = model(x)
    _same(output.detach(), torch.tensor(6.0), "the output with hooks")
    assert [note[0] for note in notes] == ["first", "second"], notes
    for _, its, inputs, seen in notes:
        assert its is model, "a hook's first argument is the module"
        assert isinstance(inputs, tuple), "a hook's second argument: a tuple"
        assert inputs[0] is x, "a hook's second argument holds x"
        assert seen is output, "a hook's third argument is the output"
    model.forward(x)
    model.add(x)
    assert len(notes) == 2, "forward, or another module's call, ran the hooks"


def _is_a_tree_like_pytorch_s(seed: int, module: Any) -> None:
    """Modules in modules at random, with the same numbers in both."""
    ours, theirs = (
        _tree(torch.Generator().manual_seed(seed), base, 3)
        for base in (type(module), nn.Module)
    )
    assert _names(ours) == _names(theirs), _names(ours)
    x = torch.randn(4, 3).T
    _same(ours(x).detach(), theirs(x).detach(), "the output of a random tree")


def _tree(draw: torch.Generator, base: type, depth: int) -> Any:
    class Node(base):
        def forward(self, x: Tensor) -> Tensor:
            for part in vars(self).get("order", []):
                x = part(x)
            return x * self.scale if depth % 2 else x + self.scale

    node, order = Node(), []
    count = torch.randint(0, 4, (), generator=draw) if depth else 0
    for place in range(int(count)):
        part = _tree(draw, base, depth - 1)
        setattr(node, f"part{place}", part)
        order.append(part)
    node.order = order
    node.scale = nn.Parameter(torch.randn((), generator=draw))
    return node


def network() -> Cases:
    """Both classes inherit from base: class AddOne(base).

    Each __init__ calls super().__init__() first.

    Triple keeps weight, 3, and in add an AddOne, which keeps bias, 1.
    """
    for base in (nn.Module, lesson.Module):
        yield call(base), partial(_walks, *PAPER, Tensor([6, 2, 3]))
        yield call(base), _adds_and_triples
        for _ in range(10):
            numbers, x = torch.randn(2), torch.randn(())
            weight, bias = numbers
            expected = torch.stack([weight * (x + bias), x + bias, weight])
            yield call(base), partial(_walks, numbers, x, expected)


def _adds_and_triples(model: Any) -> None:
    for x in (torch.tensor(1.0), torch.empty(0), torch.ones(3, 2).double().T):
        _same(model(x).detach(), 3 * (x + 1), "the network's output")
        _same(model.add(x).detach(), x + 1, "add's output")
    assert _names(model) == ["weight", "add.bias"], _names(model)


def _walks(numbers: Tensor, x: Tensor, expected: Tensor, model: Any) -> None:
    weight, bias = (p.detach().clone() for _, p in model.named_parameters())
    _same(model(x).detach(), weight * (x + bias), "the network's output")
    _same(walked(model, numbers, x), expected, "output and gradients")


def noted() -> Cases:
    """A hook takes the module, a tuple of its inputs, and its output.

    Give the same hook to model and to model.add, then call with tensor(1.0).
    """
    for base in (nn.Module, lesson.Module):
        model = lesson.network(base)
        yield call(model, model), Tensor([2, 6])
        model = lesson.network(base)
        yield call(model, model.forward), Tensor([2])
        model = lesson.network(base)
        yield call(model, model.add), Tensor([2])
        model = lesson.network(base)
        nn.init.constant_(model.weight, -2)
        yield call(model, model), Tensor([2, -4])


def learn() -> Cases:
    """The loss is the mean of the squared differences of model(x) and wanted.

    loss.backward() leaves in each parameter of the model its grad. Take 0.9
    times that off, under torch.no_grad().

    Empty each grad before the next step. Return the last loss, detached.
    """
    x, wanted = torch.tensor(1.0), torch.tensor(2.0)
    yield _judged(lesson.network(nn.Module), x, wanted, 1)
    yield _judged(lesson.network(lesson.Module), x, wanted, 1)
    for shape in ((1, 2), (7, 2), (4, 5, 2)):
        for steps in (1, 2, 5):
            x, wanted = torch.rand(shape), torch.rand(*shape[:-1], 1)
            yield _judged(nn.Linear(2, 1), x, wanted, steps)
    x, wanted = torch.rand(2, 6).double().T, torch.rand(6, 1).double()
    yield _judged(nn.Linear(2, 1).double(), x, wanted, 3)
    deep = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    yield _judged(deep, torch.rand(5, 2) / 4, torch.rand(5, 1), 2)


def _judged(model: Any, x: Tensor, wanted: Tensor, steps: int) -> Any:
    """The call, and a look at what it returns and did to the model."""
    copy = deepcopy(model)
    parameters = [p for _, p in copy.named_parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(copy(x), wanted)
        loss.backward()
        optimizer.step()
    look = partial(_has_learned, model, parameters, loss.detach())
    return call(model, x, wanted, steps), look


def _has_learned(
    model: Any, parameters: list[Tensor], loss: Tensor, found: Tensor
) -> None:
    assert not found.requires_grad, "the loss still has its graph: detach it"
    _near(found, loss)
    learned = [p for _, p in model.named_parameters()]
    for own, expected in zip(learned, parameters, strict=True):
        _near(own.detach(), expected.detach())


_near: Callable[..., None] = partial(
    torch.testing.assert_close, rtol=1e-4, atol=1e-5
)
