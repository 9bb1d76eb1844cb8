"""Cases for lessons/debug_demo.py."""

import math
from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from shared.practice.cases import Cases, call
from shared.practice.patients import Root, network, paper_case

NOT_ASKED = {
    "examine": "it only calls the seven others",
    "complaints": "it only compares seven numbers with their ranges",
}
SIZES = [(1, 2, 2), (7, 5, 3), (64, 3, 10)]  # images, pixels, classes


def _layers() -> list[tuple[nn.Module, Tensor, Tensor]]:
    """Networks of one layer and of two, each with a batch; one in double."""
    some = [paper_case()]
    for n, pixels, classes in SIZES:
        batch = torch.randn(pixels, n).T, torch.randint(classes, (n,))
        some.append((nn.Linear(pixels, classes), *batch))
        deep = nn.Linear(pixels, 4), nn.Tanh(), nn.Linear(4, classes)
        some.append((nn.Sequential(*deep), *batch))
    layer = nn.Linear(5, 3).double()
    batch = torch.randn(7, 5).double(), torch.randint(3, (7,))
    return [*some, (layer, *batch)]


def start() -> Cases:
    """The logits are (N, C): C is their size in dimension 1.

    F.cross_entropy takes logits and labels. math.log is ln.

    Return a tensor without its graph: detach().
    """
    for patient in _layers():
        yield call(*patient), _start(*patient)
    batch = torch.rand(6, 1, 8, 8), torch.randint(10, (6,))
    patient = network(), *batch
    yield call(*patient), _start(*patient)


def _start(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    logits = model(images).detach()
    logs = logits.log_softmax(1)[range(len(labels)), labels]
    return -logs.mean() / math.log(logits.size(1))


def twins() -> Cases:
    """Make each image a row. torch.cdist has the distances between all rows.

    No image is its own twin: fill the diagonal with math.inf.

    argmin(1) is the place of the nearest. The share of True is the mean of
    (...).float().
    """
    line = Tensor([[0], [1], [5], [6.5]])
    yield call(line, torch.tensor([3, 3, 4, 4])), torch.tensor(1.0)
    yield call(line, torch.tensor([3, 4, 4, 4])), torch.tensor(0.5)
    yield call(line, torch.tensor([3, 4, 3, 4])), torch.tensor(0.0)
    for shape in ((2, 3), (9, 1, 4, 4), (40, 3, 2, 2)):
        images, labels = torch.randn(shape), torch.randint(3, shape[:1])
        yield call(images, labels), _twins(images, labels)
        turned = images.transpose(1, -1)  # not contiguous
        yield call(turned, labels), _twins(images, labels)
        yield call(images.double(), labels), _twins(images, labels)


def _twins(images: Tensor, labels: Tensor) -> Tensor:
    """With two loops."""
    found = []
    for i, image in enumerate(images):
        others = [j for j in range(len(images)) if j != i]
        nearest = min(others, key=lambda j: (images[j] - image).norm().item())
        found.append(labels[nearest] == labels[i])
    return torch.stack(found).float().mean()


def by_heart() -> Cases:
    """deepcopy the model first: the learner's own must stay as it is.

    Adam with lr 0.01. Each of the 100 steps: loss, zero_grad, backward, step.

    Return the losses of all steps, detached, in one tensor.
    """
    for model, *batch in _layers():
        losses = _losses(deepcopy(model), *batch)
        yield call(model, *batch), _kept(model, losses)


def _losses(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(100):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def _kept(model: nn.Module, expected: Tensor) -> Callable[[Tensor], None]:
    """The numbers are right, and the model's own are as they were."""
    before = deepcopy(model.state_dict())

    def look(found: Tensor) -> None:
        assert not found.requires_grad, "it still has its graph: detach it"
        assert_close(found, expected, rtol=1e-3, atol=1e-5)
        assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)

    return look


def gradients() -> Cases:
    """The weights are the parameters of more than one dimension.

    torch.autograd.grad(loss, weights) has a gradient for each; with
    materialize_grads=True those that the loss doesn't need are zeros.

    .norm() is the root of the sum of the squares.
    """
    root = torch.tensor([50.0]).sqrt()
    yield call(*paper_case()), root
    for model, *batch in _layers():
        yield call(model, *batch), _norms(model, *batch)
    unused = nn.Linear(4, 3)
    unused.spare = nn.Linear(2, 2)  # forward does not call it
    batch = torch.randn(5, 4), torch.randint(3, (5,))
    expected = torch.cat([_norms(unused, *batch)[:1], torch.zeros(1)])
    yield call(unused, *batch), expected


def _norms(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    model = deepcopy(model)
    F.cross_entropy(model(images), labels).backward()
    weights = [p for p in model.parameters() if p.dim() > 1]
    grads = [p.grad for p in weights if p.grad is not None]
    return torch.stack([grad.square().sum().sqrt() for grad in grads])


def updates() -> Cases:
    """deepcopy((model, optimizer)) copies both: the copies are still a pair.

    Keep the weights before the step: detach().clone(), as it changes them.

    The norm of (after - before), divided by that of before, for each weight.
    """
    model, *batch = paper_case()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    yield (
        call(model, optimizer, *batch),
        _kept(model, torch.tensor([0.001 * 50**0.5 / 4])),
    )
    for model, *batch in _layers():
        for kind in (torch.optim.SGD, torch.optim.Adam):
            optimizer = kind(model.parameters(), lr=0.1)
            expected = _changes(model, kind, *batch)
            yield call(model, optimizer, *batch), _kept(model, expected)


def _changes(
    model: nn.Module, kind: type, images: Tensor, labels: Tensor
) -> Tensor:
    after = deepcopy(model)
    optimizer = kind(after.parameters(), lr=0.1)
    F.cross_entropy(after(images), labels).backward()
    optimizer.step()
    pairs = zip(after.parameters(), model.parameters(), strict=True)
    pairs = [(a.detach(), b.detach()) for a, b in pairs if b.dim() > 1]
    return torch.stack([(a - b).norm() / b.norm() for a, b in pairs])


def outputs() -> Cases:
    """named_modules() has all names and modules, the model's own name is "".

    A hook is called with the module, its inputs and its output. Note the
    output under the module's name.

    Each register_forward_hook returns a handle: remove() it at the end.
    """
    for _ in range(3):
        inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        model = nn.Sequential(inner, nn.Linear(4, 2))
        for images in (
            torch.randn(5, 3),
            torch.randn(3, 2).T,
            torch.ones(0, 3),
        ):
            yield call(model, images), _noted(model, images)
    half = nn.Sequential(nn.Linear(3, 2).to(torch.bfloat16))
    images = torch.randn(5, 3).to(torch.bfloat16)
    layer = half[0](images).detach()
    yield call(half, images), {"0": layer, "": layer}


def _noted(
    model: nn.Sequential, images: Tensor
) -> Callable[[dict[str, Tensor]], None]:
    with torch.no_grad():
        first = model[0][0](images)
        second = first.clamp(min=0)
        last = model[1](second)
    expected = {"0.0": first, "0.1": second, "0": second, "1": last, "": last}

    def look(found: dict[str, Tensor]) -> None:
        assert_close(found, expected)
        assert not any(out.requires_grad for out in found.values())
        left = [n for n, m in model.named_modules() if m._forward_hooks]
        assert not left, f"hooks are left on {left}: remove() them"

    return look


def born() -> Cases:
    """with torch.autograd.set_detect_anomaly(True): a nan on the walk back is a
    RuntimeError.

    Catch it: return str(error), and "" if there was none.
    """
    for model, *batch in _layers():
        yield call(model, *batch), _silent
    for _ in range(3):
        model = nn.Sequential(nn.Linear(3, 4), Root(), nn.Linear(4, 2))
        batch = torch.randn(20, 3), torch.randint(2, (20,))
        yield call(model, *batch), _names_sqrt


def _silent(found: str) -> None:
    assert found == "", f"no gradient is nan here, but it says: {found!r}"


def _names_sqrt(found: str) -> None:
    assert found.startswith("Function 'SqrtBackward0' returned nan"), found
    assert not torch.is_anomaly_enabled(), "it is still on"
