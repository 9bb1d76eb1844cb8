import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import torchvision

from shared import doctor
from shared.datasets import downloads

ROOT = Path(__file__).resolve().parent.parent.parent
MACHINE = {"Python", "MPS (Apple GPU)", "CPU cores", "bf16 on the CPU"}
PYTORCH = {"torch", "torchvision", "torch with torchvision", "PyTorch's build"}
COURSE = {"digits", "photo-digits", "cifar10", "mnist", "TensorBoard"}
ALWAYS = MACHINE | PYTORCH | COURSE | {"memory", "logs"}


@pytest.fixture(autouse=True)
def no_real_data(monkeypatch, tmp_path):
    """An empty data folder.

    The embedded sets, checked elsewhere, are not made each time.
    """
    monkeypatch.setattr(doctor, "DATA", tmp_path)
    monkeypatch.setattr(downloads, "_sha256", downloads.EMBEDDED_SHA256.get)


def by_name(findings) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in findings}


def test_json_holds_every_finding_and_nothing_else_is_printed(run_cli):
    result = run_cli("doctor", "--json")
    members = json.loads(result.stdout)
    assert members.keys() >= ALWAYS
    assert members["torch"]["value"] == torch.__version__
    assert members["torch with torchvision"]["verdict"] == "good"
    assert "--logdir" in members["TensorBoard"]["next_step"]
    verdicts = {member["verdict"] for member in members.values()}
    assert verdicts <= {"good", "note", "bad"}
    assert result.exit_code == ("bad" in verdicts)


def test_the_table_fits_into_80_columns(run_cli, monkeypatch):
    long = doctor.Finding("memory", "a value that goes on and on " * 8, "note")
    monkeypatch.setattr(doctor, "_memory", lambda: iter([long]))
    grid, steps = run_cli("doctor").stdout.split("✓ TensorBoard: ")
    assert max(map(len, grid.splitlines())) <= 80
    assert "--logdir" in steps.splitlines()[0]
    for name in ALWAYS:
        assert name in grid


def test_in_an_ssh_session_it_says_how_to_work_there(run_cli, monkeypatch):
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    assert "SSH" not in run_cli("doctor").stdout
    connection = "192.0.2.1 50000 198.51.100.7 22"
    monkeypatch.setenv("SSH_CONNECTION", connection)
    said = run_cli("doctor").stdout
    lines = said[said.index("SSH: ") :].splitlines()
    assert re.match(r" +1\. .*ssh -L 6006:localhost:6006 .*@198", lines[1])
    assert "--logdir" in lines[2]
    assert "http://localhost:6006" in lines[3]
    assert "tmux" in lines[4]


def test_missing_torchvision_is_bad_and_names_the_command(run_cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    result = run_cli("doctor", "--json")
    found = json.loads(result.stdout)["torchvision"]
    assert result.exit_code == 1
    assert found["verdict"] == "bad"
    assert found["next_step"] == "python -m pip install -r requirements.txt"
    assert "✗ torchvision: python -m pip install" in run_cli("doctor").stdout


def test_missing_torch_in_a_new_process_is_bad_and_no_traceback():
    code = "import sys; sys.modules['torch'] = None; from cli import app; app()"
    command = [sys.executable, "-c", code, "doctor", "--json"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    found = json.loads(result.stdout)
    assert result.returncode == 1, result.stderr
    assert found["torch"]["verdict"] == found["TensorBoard"]["verdict"] == "bad"
    assert found["photo-digits"]["verdict"] == "note"
    assert "Traceback" not in result.stderr


def test_a_pair_that_does_not_fit_is_bad(monkeypatch):
    def refuses(*args, **kwargs):
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.setattr(torchvision.ops, "nms", refuses)
    found = by_name(doctor._pytorch())["torch with torchvision"]
    assert found.value == "operator torchvision::nms does not exist"
    assert (found.verdict, found.next_step) == ("bad", doctor.REINSTALL)


def test_a_damaged_set_is_bad(monkeypatch, tmp_path):
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    found = by_name(doctor._data_sets())["mnist"]
    assert found.verdict == "bad"
    assert found.next_step.endswith("python cli.py data get mnist")


def test_a_driver_that_is_too_old_is_bad_and_says_why(monkeypatch):
    def unavailable():
        warnings.warn(
            "The NVIDIA driver on your system is too old", stacklevel=1
        )
        return False

    monkeypatch.setattr(doctor, "_nvidia_driver", lambda: "470.10")
    monkeypatch.setattr(torch.cuda, "is_available", unavailable)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    found = by_name(doctor._cuda())["driver"]
    assert found.verdict == "bad"
    assert found.value == "470.10: The NVIDIA driver on your system is too old"


def test_an_nvidia_gpu_beside_a_cpu_build_is_a_note(monkeypatch):
    monkeypatch.setattr(doctor, "_nvidia_driver", lambda: "580.10")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    (found,) = doctor._cuda()
    assert (found.verdict, found.next_step) == ("note", doctor.OTHER_BUILD)


@pytest.mark.parametrize("works", [True, False])
def test_each_gpu_must_do_a_sum(monkeypatch, works):
    def ones(*size, device):
        assert device == "cuda:1"
        if works:
            return torch.full(size, 1.0)
        raise RuntimeError(
            "CUDA error: no kernel image is available\nmore lines"
        )

    monkeypatch.setattr(torch, "ones", ones)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Some GPU")
    memory = (6 * 2**30, 8 * 2**30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: memory)
    found = doctor._gpu(torch, 1)
    good = ("GPU 1", "Some GPU, 6.0 GiB of 8.0 GiB free", "good")
    bad = ("GPU 1", "CUDA error: no kernel image is available", "bad")
    assert found[:3] == (good if works else bad)


@pytest.mark.gpu
def test_a_real_gpu_is_good():
    found = by_name(doctor._cuda())
    for name in ("PyTorch's build", "GPU 0"):
        assert found[name].verdict == "good"
