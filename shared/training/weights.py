"""--weights: the numbers that a ResNet18 begins with."""

import pickle
import zipfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from shared.console import fail, warn
from shared.datasets.downloads import download_weights

NEXT = "name a state_dict of torchvision's resnet18, or leave --weights out"
CODE = (
    "ask its owner for the numbers alone: "
    "torch.save(model.state_dict(), 'numbers.pth')"
)


def _absolute(value: str | None) -> str | None:
    named = value in (None, "none", "imagenet")
    return value if named else str(Path(value).resolve())


Weights = Annotated[
    str | None,
    typer.Option(
        metavar="none|imagenet|FILE",
        callback=_absolute,
        help="With --data: what ResNet18 begins with (47 MB for imagenet).",
        show_default="none",
    ),
]


def load_backbone(net: nn.Module, head: str, weights: str) -> str:
    """Fill all of a ResNet18 but its head; say in words with what.

    weights is none, imagenet (downloaded; if that fails, there is a warning and
    the numbers stay random) or the path of a state_dict. A file that does not
    fit ends the command with exit code 1. Nothing in a file is ever run.
    """
    if weights == "none":
        return "random"
    path = Path(weights)
    if weights == "imagenet":
        from torchvision.models import ResNet18_Weights

        path = download_weights(ResNet18_Weights.DEFAULT.url)
        if path is None:
            return "random, for want of a download"
    state = _without(_numbers(path), f"{head}.")
    own = _without(net.state_dict(), f"{head}.")
    _must_fit(path, state, own)
    net.load_state_dict(state, strict=False)  # the head stays as it is
    return f"pretrained, from {path.name}"


def _without(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n: v for n, v in state.items() if not n.startswith(prefix)}


def _numbers(path: Path) -> dict[str, Tensor]:
    """The state_dict in a file, its names as resnet18's.

    A checkpoint that holds one under model or state_dict will do.
    """
    kept = _loaded(path)
    if isinstance(kept, dict):
        kept = kept.get("model", kept.get("state_dict", kept))
    tensors = isinstance(kept, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor)
        for name, value in kept.items()
    )
    if not tensors or not kept:
        fail(f"{path} holds no state_dict: names, each with a tensor.", NEXT)
    state = _without(kept, "normalize.")  # of this lesson's own checkpoints
    for prefix in ("module.", "net."):
        state = {n.removeprefix(prefix): v for n, v in state.items()}
    return state


def _loaded(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            head = file.read(2)
        if head == b"PK":  # torch.load does not compare the checksums
            with zipfile.ZipFile(path) as archive:
                if archive.testzip():
                    raise zipfile.BadZipFile
        elif head[:1] != b"\x80":  # nor a pickle, as older versions wrote
            fail(f"{path} is not a file that torch.save wrote.", NEXT)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        fail(f"There is no weights file {path}.", NEXT)
    except OSError as error:
        fail(f"Can't read {path}: {error.strerror or error}.", NEXT)
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error).lower():
            _damaged(path)
        fail(
            f"{path} is a pickle of whole Python objects, not of numbers "
            "alone. To load it is to run whatever code it names, so it was "
            "not loaded.",
            CODE,
        )
    except typer.Exit:
        raise
    except Exception:  # torch.load raises a dozen kinds for damaged files
        _damaged(path)


def _damaged(path: Path) -> None:
    fail(f"{path} is damaged: it was cut short, or changed.", "copy it again")


def _must_fit(
    path: Path, state: dict[str, Tensor], own: dict[str, Tensor]
) -> None:
    """Names and shapes are resnet18's. Older files don't count batches."""
    counted = "num_batches_tracked"
    missing = [n for n in own if n not in state and not n.endswith(counted)]
    unknown = [name for name in state if name not in own]
    other = f"{path} was made for another network than resnet18"
    for what, names in (("it lacks", missing), ("it has", unknown)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            fail(f"{other}: {what} {names[0]}{more}.", NEXT)
    for name, value in state.items():
        if value.shape != own[name].shape:
            shapes = f"{tuple(value.shape)}, not {tuple(own[name].shape)}"
            fail(f"{other}: {name} has shape {shapes}.", NEXT)
        if not value.isfinite().all():
            fail(f"{path} holds nan or infinity, in {name}.", NEXT)
    if "bn1.running_var" in state and (state["bn1.running_var"] < 0).any():
        warn(f"{path} has negative variances: is it what you think it is?")
