"""The ready-made networks that pretrained-demo adapts."""

from typing import Annotated, Literal

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import ResNet18_Weights, resnet18, vgg16

from shared.datasets.downloads import download_weights

Weights = Annotated[
    Literal["none", "imagenet"], typer.Option(help="imagenet: a 47 MB file.")
]


def vgg_on_paper() -> nn.Module:
    """VGG16 on device meta: its tensors have shapes, and no numbers."""
    with torch.device("meta"):
        return vgg16(weights=None)


def counted(vgg: nn.Module) -> str:
    """Its parameters, and the shape that comes out for one image."""
    out = vgg(torch.zeros(1, 3, 224, 224, device="meta"))
    total = sum(parameter.numel() for parameter in vgg.parameters())
    return f"{total:,} parameters, output {tuple(out.shape)}"


def sizes(model: nn.Module) -> Tensor:
    """How many numbers each of its parameters has."""
    return torch.tensor([parameter.numel() for parameter in model.parameters()])


def resnet(weights: str) -> tuple[nn.Module, str]:
    """ResNet18 in eval mode, and a sentence: what its numbers are.

    With weights imagenet they are downloaded; if that fails, there is a
    warning, and they are random.
    """
    torch.manual_seed(0)
    model = resnet18(weights=None).eval()
    said = "random: these names are chance. With --weights imagenet a file "
    said += "of 47 MB brings trained ones"
    if weights == "imagenet":
        path = download_weights(ResNet18_Weights.DEFAULT.url)
        said = "random, for want of a download: these names are chance"
        if path:
            model.load_state_dict(torch.load(path, weights_only=True))
            said = f"pretrained, from {path.name}"
    older = "Older programs ask for pretrained ones by pretrained=True: a "
    older += "warning says that weights= replaces it."
    return model, f"ResNet18's numbers are {said}. {older}"


def three(model: nn.Module, image: Tensor) -> str:
    """The names of the three classes whose numbers are highest."""
    with torch.no_grad():
        shares = model(image[None]).softmax(1)[0]
    names = ResNet18_Weights.DEFAULT.meta["categories"]
    highest = zip(*shares.topk(3), strict=True)
    return ", ".join(f"{names[place]} {share:.1%}" for share, place in highest)


def gradients(model: nn.Module, image: Tensor) -> tuple[int, str, str, str]:
    """After one backward: how many tensors have one, of how many numbers?

    The last is what forward kept for backward, without the parameters.
    """
    model.zero_grad()  # none is left
    ours = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = F.cross_entropy(model(image[None]), torch.tensor([0]))
    loss.backward()
    got = [p.grad.numel() for p in model.parameters() if p.grad is not None]
    sizes = 4 * sum(got), sum(kept.values())
    megabytes = [f"{size / 1e6:.3f} MB" for size in sizes]
    return len(got), f"{sum(got):,}", *megabytes
