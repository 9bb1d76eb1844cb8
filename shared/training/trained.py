"""Checkpoints of a CifarNet from anywhere, our own or a plain state_dict.

What can't be used ends the command with a sentence that says what the file is.
Nothing in a file is ever run: torch.load is only called with weights_only=True.
"""

import json
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from shared.console import fail, warn
from shared.datasets.image_set import ImageSet
from shared.datasets.sources import load_images
from shared.models import CifarNet, Normalize, behind
from shared.options import LOGS

MAKE = "python cli.py train-cifar"
OURS = f"name another file with --checkpoint, or make one: {MAKE}"
CODE = (
    "ask its owner for the numbers alone: "
    "torch.save(model.state_dict(), 'numbers.pt')"
)
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer"]
CIFAR10 += ["dog", "frog", "horse", "ship", "truck"]


def newest_best(logdir: Path) -> Path:
    """The best.pt of train-cifar's newest run that has one."""
    found = sorted((logdir / "train-cifar").glob("*/best.pt"))
    if not found:
        problem = f"{logdir} holds no checkpoint of train-cifar."
        there = "" if logdir == LOGS else f" --logdir {logdir}"
        fail(problem, f"make one: {MAKE}{there}")
    return found[-1]


def tested_images(kept: dict[str, Any]) -> ImageSet:
    """The images on which the run of a checkpoint was tested at its end."""
    settings, own = kept["settings"], "name pictures of yours with --image"
    if not isinstance(settings.get("data"), str):
        fail("The checkpoint doesn't say what its test images are.", own)
    chosen = settings.get("limit"), settings.get("seed", 0)
    *_, test = load_images(settings["data"], torch.device("cpu"), *chosen)
    if test is None:
        fail(f"{settings['data']} has no folder test/ to try it on.", own)
    if test.classes != kept["classes"]:
        others = ", ".join(test.classes[:10])
        problem = f"{settings['data']} now has other classes: {others}."
        fail(problem, own)
    then = kept.get("examples", {}).get("test", len(test))
    if then != len(test):
        warn(f"its run had {then:,} test images; now there are {len(test):,}.")
    return test


def compared(path: Path, accuracy: float) -> str:
    """Whether the run of this best.pt reported the same accuracy, in words."""
    try:
        about = json.loads((path.parent / "run.json").read_text("utf-8"))
        before = about["test_accuracy"] if path.name == "best.pt" else None
        if accuracy == before:
            return ", the same as at the end of its run"
        return f"; at the end of its run it was {before:.1%}" if before else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # there is no report, or none of ours


def read_trained(path: Path, activation: str | None = None) -> dict[str, Any]:
    """A checkpoint that fits CifarNet behind its Normalize, on the CPU.

    It has model (a state_dict), classes and settings, and of our own runs what
    else they keep (train-cifar's, and train-flowers' on digits). A plain
    state_dict says neither its activation nor its classes, and maybe no
    normalisation: ReLU, CIFAR-10's ten, and pixels from 0 to 1 are assumed,
    with a note. activation, where given, is taken instead.
    """
    kept = loaded(path)
    if not isinstance(kept, dict):
        problem = f"{path} holds one {type(kept).__name__}, not a checkpoint."
        fail(problem, OURS)
    state = kept.get("model", kept.get("state_dict", kept))
    if not isinstance(state, dict) or not all(map(_is_tensor, state.values())):
        fail(f"{path} holds a dictionary, but no weights.", OURS)
    prefix = "net." if any(n.startswith("net.") for n in state) else ""
    if not prefix:
        state = {f"net.{name}": value for name, value in state.items()}
    classes, settings = kept.get("classes"), _settings(kept)
    plain = not isinstance(classes, list) or not isinstance(settings, dict)
    if plain:
        classes, settings = CIFAR10, {"activation": activation or "relu"}
        assumed = f"CIFAR-10's classes, activation {settings['activation']}"
        if "normalize.mean" not in state:
            ones = torch.ones(3, 1, 1)
            state |= {"normalize.mean": 0 * ones, "normalize.std": ones}
            assumed += ", pixels from 0 to 1"
    elif settings.get("activation") not in ("none", "relu"):
        fail(f"{path} was made by another lesson.", OURS)
    _must_fit(path, state, len(classes), prefix)
    if plain:
        problem = f"{path} holds numbers alone"
        warn(f"{problem}: {assumed} are assumed. Are they right?")
    settings |= {"activation": activation or settings["activation"]}
    names = [str(name) for name in classes]
    needed = {"model": state, "classes": names, "settings": settings}
    return needed if plain else kept | needed


def _settings(kept: dict[str, Any]) -> Any:
    """A run's settings. train-flowers' CifarNet always has ReLU."""
    settings, maker = kept.get("settings"), str(kept.get("made_by"))
    flowers = isinstance(settings, dict) and maker.startswith("train-flowers,")
    if flowers and not settings.get("data"):  # with data, it is a ResNet18
        return settings | {"activation": "relu"}
    return settings


def rebuild(kept: dict) -> nn.Module:
    """The network of a checkpoint: our code, the file's numbers."""
    net = CifarNet(len(kept["classes"]), kept["settings"]["activation"])
    normalize = Normalize(torch.zeros(3), torch.ones(3))  # to be filled
    model = behind(normalize, net)
    model.load_state_dict(kept["model"])
    return model


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def loaded(path: Path) -> Any:
    """What is in the file; or it is said what the file is."""
    try:
        with path.open("rb") as file:
            head = file.read(1000)
    except FileNotFoundError:
        fail(f"There is no checkpoint {path}.", OURS)
    except OSError as error:
        fail(f"Can't read {path}: {error.strerror}.", "name a best.pt")
    if head.startswith(b"PK"):
        _whole_archive(path)
    elif not head.startswith(b"\x80"):  # nor a pickle, as torch.save wrote
        _no_checkpoint(path, head)
    try:
        with warnings.catch_warnings():  # of an unusual pickle protocol
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        _code(path)
    except Exception:  # torch.load raises a dozen kinds for damaged files
        problem = f"{path} is damaged, or of a kind that is not read here."
        fail(problem, f"copy it again, or {OURS}")


def _whole_archive(path: Path) -> None:
    """torch.load does not compare the checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError):
        problem = f"{path} is damaged: the file was cut short, or changed."
        fail(problem, f"copy it again, or {OURS}")
    if broken:
        problem = f"{path} is damaged, in {broken}."
        fail(problem, f"copy it again, or {OURS}")
    if any("/code/" in name for name in names):
        problem = f"{path} is a TorchScript program, not numbers alone."
        fail(problem, CODE)
    if not any(name.endswith("/data.pkl") for name in names):
        inside = ", ".join(names[:3]) or "nothing"
        problem = f"{path} is a ZIP archive of something else ({inside})."
        fail(problem, OURS)


def _no_checkpoint(path: Path, head: bytes) -> NoReturn:
    if not head:
        fail(f"{path} is empty.", f"copy it again, or {OURS}")
    first = head.decode(errors="replace").splitlines()[0][:40]
    if first.isprintable() and "\ufffd" not in first:
        problem = f"{path} is a text file; it begins with {first!r}."
        fail(problem, OURS)
    fail(f"{path} is not a file that torch.save wrote.", OURS)


def _code(path: Path) -> NoReturn:
    """It names what it would call. That is read without calling it."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # whatever is in there: it stays there
        names = []
    called = f" (it calls {', '.join(sorted(names)[:3])})" if names else ""
    fail(
        f"{path} is a pickle of whole Python objects{called}, not of numbers "
        "alone. To load it is to run whatever code it names, so it was not "
        "loaded.",
        CODE,
    )


def _must_fit(
    path: Path, state: dict[str, Tensor], classes: int, prefix: str
) -> None:
    """prefix: what the file itself has before the names of the layers."""
    shapes = {
        f"net.{name}": tuple(value.shape)
        for name, value in CifarNet(classes).state_dict().items()
    }
    shapes |= dict.fromkeys(("normalize.mean", "normalize.std"), (3, 1, 1))
    shown = {n: prefix + n.removeprefix("net.") for n in shapes | state}
    shown |= {n: n for n in shapes if not n.startswith("net.")}
    missing = [shown[name] for name in shapes if name not in state]
    unexpected = [shown[name] for name in state if name not in shapes]
    other = f"{path} has other layers than CifarNet"
    if missing or unexpected:
        lacks, has = _three(missing), _three(unexpected)
        fail(f"{other}. Missing: {lacks}. Unexpected: {has}.", OURS)
    for name, shape in shapes.items():
        found = tuple(state[name].shape)
        if not state[name].isfinite().all():
            fail(f"{path} holds nan or infinity, in {shown[name]}.", OURS)
        if found == shape:
            continue
        if name.startswith("net.12.") and found[1:] == shape[1:]:
            problem = f"{path} has {found[0]} outputs for {classes} classes"
            fail(f"{problem}: it was made for other ones.", OURS)
        fail(f"{other}: {shown[name]} has shape {found}, not {shape}.", OURS)


def _three(names: list[str]) -> str:
    """The first three of them, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more or "none"
