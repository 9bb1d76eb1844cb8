"""What this machine has for the course, and what to do about what it lacks.

Survives a missing or broken torch: that is then one of the findings.
"""

import importlib
import json
import os
import platform
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Literal, NamedTuple

from rich.markup import escape

from shared.console import console, table
from shared.datasets import downloads
from shared.options import DATA, LOGS

INSTALL = "python -m pip install -r requirements.txt"
REINSTALL = "python -m pip install --force-reinstall -r requirements.txt"
OTHER_BUILD = (
    "choose another build of PyTorch: https://pytorch.org/get-started/locally"
)
REMOTE = """to work on a remote machine
  1. On your own machine: {tunnel}
  2. In that session: {command}
  3. In your own browser: http://localhost:6006
  4. Begin long training inside tmux: it goes on when the line breaks."""
GIB = 2**30


class Finding(NamedTuple):
    """One thing that was looked at.

    A note is fine, but good to know. next_step may be empty.
    """

    name: str
    value: str
    verdict: Literal["good", "note", "bad"]
    next_step: str = ""


def examine() -> list[Finding]:
    """Look at everything once; takes some seconds, mostly to import torch."""
    looks = [_python, _pytorch, _cuda, _mps, _processor, _memory]
    looks += [_data_sets, _tensorboard, _disk]
    return [finding for look in looks for finding in look()]


def show_findings(findings: list[Finding], as_json: bool) -> None:
    """Print a table and every next step, or one JSON object.

    The object has a member for each finding.
    """
    if as_json:
        members = {finding.name: finding._asdict() for finding in findings}
        text = json.dumps(members, indent=2)
        console.print(text, markup=False, soft_wrap=True)
        return
    marks = {"good": "✓", "note": "·", "bad": "✗"}
    rows = [(marks[f.verdict], f.name, escape(f.value)) for f in findings]
    table(["", "what", "this machine"], rows)
    for finding in findings:
        if finding.next_step:
            mark = marks[finding.verdict]
            step = f"{mark} {finding.name}: {finding.next_step}"
            # a command must stay in one line
            console.print(step, markup=False, soft_wrap=True)


def _python() -> Iterator[Finding]:
    value = f"{platform.python_version()} on {platform.system()}"
    yield Finding("Python", value, "good")


def _module(name: str) -> ModuleType | Exception:
    """An imported module, or why it can't be imported.

    A broken one can raise anything.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:
        return error


def _pytorch() -> Iterator[Finding]:
    found = {name: _module(name) for name in ("torch", "torchvision")}
    for name, module in found.items():
        if isinstance(module, ModuleNotFoundError):
            yield Finding(name, "not installed", "bad", INSTALL)
        elif isinstance(module, Exception):
            value = f"broken: {_first_line(module)}"
            yield Finding(name, value, "bad", REINSTALL)
        else:
            yield Finding(name, module.__version__, "good")
    if not any(isinstance(module, Exception) for module in found.values()):
        yield _fit()


def _fit() -> Finding:
    """Call an operator that torchvision compiled for one release of torch."""
    import torch
    from torchvision.ops import nms

    name = "torch with torchvision"
    # the boxes overlap by three quarters
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 3]])
    try:
        kept = nms(boxes, torch.tensor([0.9, 0.8]), iou_threshold=0.5).tolist()
    except Exception as error:
        return Finding(name, _first_line(error), "bad", REINSTALL)
    if kept != [0]:
        return Finding(name, "give a wrong result", "bad", REINSTALL)
    return Finding(name, "fit together", "good")


def _cuda() -> Iterator[Finding]:
    """The build, the driver, and each GPU, with a small sum done on it."""
    torch = _module("torch")
    if isinstance(torch, Exception):
        return
    driver = _nvidia_driver()
    # a driver too old is only warned of
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        works = torch.cuda.is_available()
    yield _build(torch, works, driver)
    if works:
        yield Finding("driver", driver or "works", "good")
        for index in range(torch.cuda.device_count()):
            yield _gpu(torch, index)
        yield _bf16("cuda")
    elif driver and torch.version.cuda:
        reason = "PyTorch finds no GPU through it"
        if said:
            reason = _first_line(said[0].message)
        next_step = f"update it, or {OTHER_BUILD}"
        yield Finding("driver", f"{driver}: {reason}", "bad", next_step)


def _build(torch: ModuleType, works: bool, driver: str) -> Finding:
    name = "PyTorch's build"
    if torch.version.cuda or torch.version.hip:
        kind = f"ROCm {torch.version.hip}"
        if torch.version.cuda:
            kind = f"CUDA {torch.version.cuda}"
        if works:
            return Finding(name, kind, "good")
        return Finding(name, f"{kind}, but no GPU that it can use", "note")
    if driver:
        value = "CPU only, beside an NVIDIA GPU"
        return Finding(name, value, "note", OTHER_BUILD)
    return Finding(name, "CPU only", "good")


def _nvidia_driver() -> str:
    """The version of NVIDIA's driver; empty where there is none or no reply."""
    query = ["--query-gpu=driver_version", "--format=csv,noheader"]
    command = ["nvidia-smi", *query]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.partition("\n")[0].strip()


def _gpu(torch: ModuleType, index: int) -> Finding:
    name = f"GPU {index}"
    try:
        title = torch.cuda.get_device_name(index)
        free, total = torch.cuda.mem_get_info(index)
        assert torch.ones(2, device=f"cuda:{index}").sum().item() == 2
    except Exception as error:
        # out of memory, in use by another, too old for this build
        next_step = f"free it, or {OTHER_BUILD}"
        return Finding(name, _first_line(error), "bad", next_step)
    return Finding(name, f"{title}, {_gib(free)} of {_gib(total)} free", "good")


def _mps() -> Iterator[Finding]:
    torch = _module("torch")
    if isinstance(torch, Exception):
        return
    if torch.backends.mps.is_available():
        yield Finding("MPS (Apple GPU)", "works", "good")
    else:
        yield Finding("MPS (Apple GPU)", "none here", "note")


def _processor() -> Iterator[Finding]:
    verdict = "good" if _cores() > 1 else "note"
    yield Finding("CPU cores", str(_cores()), verdict)
    if not isinstance(_module("torch"), Exception):
        yield _bf16("cpu")


def _cores() -> int:
    """How many cores this process may use: perhaps fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _bf16(device_type: str) -> Finding:
    from shared.device import bf16_in_hardware

    name = f"bf16 on the {'CPU' if device_type == 'cpu' else 'GPU'}"
    if bf16_in_hardware(device_type):
        return Finding(name, "in hardware", "good")
    value = "not in hardware: works, but is no faster than float32"
    return Finding(name, value, "note")


def _memory() -> Iterator[Finding]:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        yield Finding("memory", "unknown", "note")
    else:
        verdict = "good" if size >= 4 * GIB else "note"
        yield Finding("memory", _gib(size), verdict)


def _data_sets() -> Iterator[Finding]:
    for name in downloads.SETS:
        reader = "torch" if name in downloads.EMBEDDED_SHA256 else "torchvision"
        if not downloads.is_there(name, DATA):
            next_step = f"python cli.py data get {name}"
            yield Finding(name, "not here", "note", next_step)
        elif isinstance(_module(reader), Exception):
            value = f"here, but {reader} is needed to check it"
            yield Finding(name, value, "note")
        elif downloads.is_whole(name, DATA):
            yield Finding(name, "whole", "good")
        else:
            yield Finding(name, "damaged", "bad", downloads.mend(name, DATA))


def _tensorboard() -> Iterator[Finding]:
    tensorboard, board = _module("tensorboard"), _module("shared.board")
    name = "TensorBoard"
    if isinstance(tensorboard, Exception):
        yield Finding(name, _first_line(tensorboard), "bad", INSTALL)
    elif isinstance(board, Exception):
        value = f"PyTorch can't use it: {_first_line(board)}"
        yield Finding(name, value, "bad", INSTALL)
    else:
        version = tensorboard.version.VERSION
        command = board.tensorboard_command(LOGS)
        yield Finding(name, version, "good", command)
        if tunnel := board.tunnel_command():
            steps = REMOTE.format(tunnel=tunnel, command=command)
            yield Finding("SSH", "a remote machine", "note", steps)


def _disk() -> Iterator[Finding]:
    folder = LOGS if LOGS.is_dir() else LOGS.parent
    if not os.access(folder, os.W_OK):
        value = f"can't write to {folder}"
        yield Finding("logs", value, "bad", "give each lesson a --logdir")
        return
    free = shutil.disk_usage(folder).free
    verdict, step = ("good", "") if free > GIB else ("note", "free some space")
    if free < GIB / 10:
        verdict = "bad"
    yield Finding("logs", f"{_gib(free)} of disk free", verdict, step)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def _first_line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
