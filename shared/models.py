"""Networks that a lesson has built in full view; later lessons import them from here."""

from torch import nn


class CifarNet(nn.Sequential):
    """The course's CNN: images (N, 3, 32, 32) in, logits (N, num_classes) out.

    With 10 classes it has 145,578 parameters. activation "none" leaves the layers linear, "relu"
    puts a ReLU behind each of them but the last. Raises ValueError for any other activation.
    """

    def __init__(self, num_classes: int = 10, activation: str = "none") -> None:
        if activation not in ("none", "relu"):
            raise ValueError(f"activation must be none or relu, not {activation!r}")
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


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
