"""Which processor a lesson runs on."""

import torch
from torch import Tensor, nn

from shared.console import fail, say, table, warn


def pick_device(name: str) -> torch.device:
    """Turn auto, cpu, cuda, cuda:N or mps into a device that is really there.

    Only auto may fall back; a device that was asked for by name and is missing
    ends the command.
    """
    if name == "auto":
        return _best_device()
    device = torch.device(name)
    if device.type == "cuda":
        _require_cuda(device)
    if device.type == "mps" and not torch.backends.mps.is_available():
        fail(
            "--device mps: this machine has no Apple GPU that PyTorch can use.",
            "--device auto",
        )
    return device


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _require_cuda(device: torch.device) -> None:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count > (device.index or 0):
        return
    if not torch.version.cuda:
        reason = "this PyTorch was built without CUDA"
    elif not count:
        reason = "PyTorch finds no NVIDIA GPU with a working driver here"
    else:
        reason = f"this machine has {count} GPU, numbered from cuda:0"
    fail(
        f"--device {device}: {reason}.",
        "use --device cpu, or see: python cli.py doctor",
    )


def bf16_in_hardware(device_type: str) -> bool:
    """Whether a device computes in bfloat16 itself, not by emulation.

    device_type is "cpu", "cuda" or "mps".
    """
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type == "mps":
        return torch.backends.mps.is_macos_or_newer(14, 0)
    if not hasattr(torch.cpu, "get_capabilities"):  # an older PyTorch
        return torch.cpu._is_avx512_bf16_supported()
    capabilities = torch.cpu.get_capabilities()  # amx_bf16, avx512_bf16, ...
    return any(there for name, there in capabilities.items() if "bf16" in name)


def pick_autocast(device: torch.device, precision: str) -> torch.autocast:
    """What a forward pass in "float32" or "bf16" runs in.

    Warns where bf16 will be slow.
    """
    bf16 = precision == "bf16"
    if bf16 and not bf16_in_hardware(device.type):
        warn(
            f"{device} computes bf16 only by emulation: float32 is faster here."
        )
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


def say_devices(on: torch.device, there: torch.device) -> None:
    """Print what PyTorch can compute on, and which of it is here."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = [
        (f"cuda:{index}", "here", torch.cuda.get_device_name(index))
        for index in range(count)
    ]
    mps = "here" if torch.backends.mps.is_available() else "not here"
    built_in = "" if bf16_in_hardware("cpu") else "not "
    rows = [
        ("cpu", "here", f"the processor; bfloat16 is {built_in}built in"),
        *(gpus or [("cuda:0", "not here", "the first NVIDIA GPU")]),
        ("mps", mps, "the GPU of an Apple computer"),
        ("meta", "here", "no processor: keeps shapes and dtypes, no numbers"),
    ]
    table(["device", "", "what it is"], rows)
    say("cuda alone is cuda:0, until you choose another. cuda:1 is the second.")
    say(f"torch.ones(1).cuda() here: {_answer_of_cuda()}")
    say(f"This lesson computes on {on}, and moves things to {there}.")


def say_things(
    things: dict[str, nn.Module | Tensor], there: torch.device
) -> None:
    """Print both ways to move each thing, and what .to(there) gives."""
    rows = []
    for name, thing in things.items():
        assign, tensors = f"{name} = {name}", 1
        if isinstance(thing, nn.Module):
            assign, tensors = name, len(thing.state_dict())
        gives = "itself" if thing.to(there) is thing else "a new tensor"
        ways = f"{assign}.cuda()", f"{assign}.to(device)"
        rows.append((*ways, tensors, gives))
    table(["to CUDA only", "to any device", "tensors", "gives"], rows)


def _answer_of_cuda() -> str:
    """Where a tensor goes, or the error's first sentence."""
    try:
        return f"the tensor is on {torch.ones(1).cuda().device}."
    except (RuntimeError, AssertionError) as error:  # a driver, or a build
        sentence = str(error).partition(". ")[0].rstrip(".")
        return f"{type(error).__name__}: {sentence}."
