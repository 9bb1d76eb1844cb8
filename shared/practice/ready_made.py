"""The ready-made networks that pretrained-demo adapts."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import ResNet18_Weights, resnet18, vgg16

from shared.datasets.downloads import download_weights


def vgg_on_paper() -> nn.Module:
    """VGG16 on device meta: its tensors have shapes, and no numbers."""
    with torch.device("meta"):
        return vgg16(weights=None)


def counted(vgg: nn.Module) -> str:
    """Its parameters, and the shape that comes out for one image."""
    out = vgg(torch.zeros(1, 3, 224, 224, device="meta"))
    total = sum(parameter.numel() for parameter in vgg.parameters())
    return f"{total:,} parameters, output {tuple(out.shape)}"


def resnet(weights: str) -> tuple[nn.Module, str]:
    """ResNet18 in eval mode, and what its numbers are.

    With weights imagenet they are downloaded; if that fails, there is a
    warning, and they are random.
    """
    torch.manual_seed(0)
    model = resnet18(weights=None).eval()
    if weights == "none":
        return model, "random: these names are chance"
    path = download_weights(ResNet18_Weights.DEFAULT.url)
    if not path:
        return model, "random, for want of a download: these names are chance"
    model.load_state_dict(torch.load(path, weights_only=True))
    return model, f"pretrained, from {path.name}"


def three(model: nn.Module, image: Tensor) -> str:
    """The names of the three classes whose numbers are highest."""
    with torch.no_grad():
        shares = model(image[None]).softmax(1)[0]
    names = ResNet18_Weights.DEFAULT.meta["categories"]
    highest = zip(*shares.topk(3), strict=True)
    return ", ".join(f"{names[place]} {share:.1%}" for share, place in highest)


def gradients(model: nn.Module, image: Tensor) -> tuple[int, str, str]:
    """After one backward: how many tensors have one, of how many numbers?"""
    model.zero_grad()  # none is left
    corner = image[None, :, :64, :64]  # the gradients are as many, and sooner
    F.cross_entropy(model(corner), torch.tensor([0])).backward()
    got = [p.grad.numel() for p in model.parameters() if p.grad is not None]
    return len(got), f"{sum(got):,}", f"{4 * sum(got) / 1e6:.2f} MB"
