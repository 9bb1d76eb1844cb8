"""Networks that a lesson has built in full view, for later lessons."""

from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from shared.datasets.image_set import channel_statistics


class Normalize(nn.Module):
    """uint8 images (N, C, H, W) to floats: each channel of mean 0 and std 1.

    mean and std (C,) are buffers: they travel in the state_dict, so a trained
    model can't be used with another normalisation than in its training.
    """

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.view(-1, 1, 1))
        self.register_buffer("std", std.view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        images = (images.float() / 255 - self.mean) / self.std
        return images.contiguous(
            memory_format=torch.channels_last
        )  # the faster layout in memory


class CifarNet(nn.Sequential):
    """The course's CNN: images (N, 3, 32, 32) in, logits (N, num_classes) out.

    With 10 classes it has 145,578 parameters. activation "none" leaves the
    layers linear, "relu" puts a ReLU behind each of them but the last. Raises
    ValueError for any other activation.
    """

    def __init__(self, num_classes: int = 10, activation: str = "none") -> None:
        if activation not in ("none", "relu"):
            raise ValueError(
                f"activation must be none or relu, not {activation!r}"
            )
        act = nn.ReLU if activation == "relu" else nn.Identity
        super().__init__(
            nn.Conv2d(3, 32, 5, padding=2),  # (N, 32, 32, 32)
            act(),
            nn.MaxPool2d(2),  # (N, 32, 16, 16)
            nn.Conv2d(32, 32, 5, padding=2),
            act(),
            nn.MaxPool2d(2),  # (N, 32, 8, 8)
            nn.Conv2d(32, 64, 5, padding=2),  # (N, 64, 8, 8)
            act(),
            nn.MaxPool2d(2),  # (N, 64, 4, 4)
            nn.Flatten(),  # (N, 1024)
            nn.Linear(1024, 64),
            act(),
            nn.Linear(64, num_classes),
        )


class MnistNet(nn.Sequential):
    """train-mnist's networks: images (N, 1, 28, 28) in, (N, num_classes) out.

    With 10 classes "mlp" has 136,074 parameters, "cnn" 121,514. A checkpoint
    names the model in its settings. Raises ValueError for any other model.
    """

    def __init__(self, model: str = "mlp", num_classes: int = 10) -> None:
        if model not in ("mlp", "cnn"):
            raise ValueError(f"model must be mlp or cnn, not {model!r}")
        layers = _mlp if model == "mlp" else _mnist_cnn
        super().__init__(*layers(num_classes))


def _mlp(num_classes: int) -> list[nn.Module]:
    return [
        nn.Flatten(),  # (N, 784)
        nn.Linear(784, 128),
        nn.ReLU(),
        nn.Linear(128, 256),
        nn.ReLU(),
        nn.Linear(256, num_classes),
    ]


def _mnist_cnn(num_classes: int) -> list[nn.Module]:
    return [
        nn.Conv2d(1, 16, 5, padding=2),  # (N, 16, 28, 28)
        nn.ReLU(),
        nn.MaxPool2d(2),  # (N, 16, 14, 14)
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(32, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),  # (N, 32, 7, 7)
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.Flatten(),  # (N, 3136)
        nn.Linear(64 * 7 * 7, num_classes),
    ]


def normalized(net: nn.Module, images: Tensor) -> nn.Sequential:
    """A network behind the normalisation that its training images need."""
    normalize = Normalize(*channel_statistics(images))
    return behind(normalize, net).to(images.device)


def unit_range(net: nn.Module, images: Tensor) -> nn.Sequential:
    """A network behind a Normalize that only brings pixels into [0, 1]."""
    ones = torch.ones(images.size(1))
    return behind(Normalize(0 * ones, ones), net).to(images.device)


def behind(normalize: Normalize, net: nn.Module) -> nn.Sequential:
    """A network with its normalisation before it, as checkpoints hold both."""
    model = nn.Sequential(OrderedDict(normalize=normalize, net=net))
    return model.to(memory_format=torch.channels_last)


@torch.no_grad()
def layer_table(
    layers: Iterable[nn.Module], x: Tensor
) -> list[tuple[str, tuple[int, ...], str]]:
    """For each layer: its name, the shape of x after it, its parameters."""
    rows = []
    for layer in layers:
        x = layer(x)
        count = sum(parameter.numel() for parameter in layer.parameters())
        rows.append((type(layer).__name__, tuple(x.shape), f"{count:,}"))
    return rows


def flower_net(num_classes: int) -> nn.Sequential:
    """train-flowers' ResNet18: uint8 images (N, 3, 64, 64) in, logits out.

    Pictures become 96 x 96, then their middle is cut out, 64 x 64.
    """
    from torchvision.models import resnet18  # here: importing it takes seconds

    mean = torch.tensor([0.485, 0.456, 0.406])  # ImageNet's
    normalize = Normalize(mean, torch.tensor([0.229, 0.224, 0.225]))
    return behind(normalize, resnet18(num_classes=num_classes))
