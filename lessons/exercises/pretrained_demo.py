"""Cases for lessons/pretrained_demo.py."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, resnet18, vgg16

from shared.practice.cases import Cases, call


def replace_head() -> Cases:
    """named_modules() has every layer with its full name, "classifier.6", say.

    The last nn.Linear among them is the head; its in_features must stay.

    get_submodule("classifier") is the module that holds it, and get_submodule
    of an empty name is the model. setattr(holder, "6", new) replaces it there.

    Is the old head on another device, of another dtype, or without a bias?
    """
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    yield _new_head(net, 5, "2")
    yield _new_head(net, 1, "2")
    deep = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Linear(3, 2)))
    yield _new_head(deep, 7, "1.0")
    last = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2), nn.Softmax(1))
    yield _new_head(last.double(), 3, "1")  # the head is not the last module
    yield _new_head(nn.Sequential(nn.Linear(4, 3, bias=False)), 2, "0")
    yield _new_head(_Named(), 6, "fc")
    with torch.device("meta"):
        yield _new_head(vgg16(), 10, "classifier.6")
        yield _new_head(resnet18(), 10, "fc")


class _Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.fc1(x))


def _new_head(
    model: nn.Module, classes: int, name: str
) -> tuple[object, Callable[[str], None]]:
    model = deepcopy(model)
    before = dict(model.named_parameters())

    def look(result: str) -> None:
        assert result == name, f"the head is {name}, not {result}"
        after = dict(model.named_parameters())
        assert list(after) == list(before), "other names than before"
        for key, old in before.items():
            if not key.startswith(f"{name}."):
                assert after[key] is old, f"{key} was not to be touched"
                continue
            new = after[key]
            wanted = (classes, *old.shape[1:])
            assert new.shape == wanted, f"{key} is {tuple(new.shape)}"
            assert new is not old and new.requires_grad
            assert (new.dtype, new.device) == (old.dtype, old.device)

    return call(model, classes), look


def preprocess() -> Cases:
    """The shorter side becomes 256, the longer as much longer as it was.

    interpolate wants (N, C, H, W) of floats; antialias=True averages what one
    new pixel covers.

    Python's round(58.5) is 58, and torchvision cuts there, too. Pixels are
    whole numbers again before they are divided by 255.
    """
    theirs = ResNet18_Weights.DEFAULT.transforms()
    grey = torch.full((3, 300, 400), 128, dtype=torch.uint8)
    yield call(grey), theirs(grey)
    for height, width in (
        (256, 256),
        (300, 400),
        (427, 640),
        (640, 427),
        (224, 224),
        (50, 37),
        (1, 1),
        (1, 16),
        (257, 300),
    ):
        picture = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
        yield call(picture), theirs(picture)
        turned = picture.transpose(1, 2)  # not contiguous
        yield call(turned), theirs(turned)


def freeze_but() -> Cases:
    """named_parameters() has each with its name; requires_grad_ switches it.

    A parameter of the head has a name that begins with the head's, and a dot:
    without the dot, fc1.weight would belong to the head fc.

    Something frozen before may be the head now: switch it on.
    """
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    yield _frozen(net, "2", ["2.weight", "2.bias"])
    yield _frozen(net, "0", ["0.weight", "0.bias"])
    yield _frozen(_Named(), "fc", ["fc.weight", "fc.bias"])
    yield _frozen(
        _Named().requires_grad_(False), "fc1", ["fc1.weight", "fc1.bias"]
    )
    norm = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    yield _frozen(norm.double(), "2", ["2.weight", "2.bias"])
    bare = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2, bias=False))
    yield _frozen(bare, "1", ["1.weight"])
    with torch.device("meta"):
        yield _frozen(resnet18(), "fc", ["fc.weight", "fc.bias"])
        both = ["classifier.6.weight", "classifier.6.bias"]
        yield _frozen(vgg16(), "classifier.6", both)


def _frozen(
    model: nn.Module, head: str, names: list[str]
) -> tuple[object, Callable[[list[str]], None]]:
    model = deepcopy(model)

    def look(result: list[str]) -> None:
        assert result == names, f"{names} are to learn, not {result}"
        learn = [n for n, p in model.named_parameters() if p.requires_grad]
        assert learn == names, f"{learn} learn"

    return call(model, head), look
