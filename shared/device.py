"""Which processor a lesson runs on."""

import torch

from shared.console import fail, warn


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
