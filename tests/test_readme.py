"""What the README says the program prints, the program prints."""

import re
import shlex
from pathlib import Path

import pytest

import cli
from shared.checkpoint import load_checkpoint
from shared.options import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SAMPLES = re.findall(r"```text\n\$ python cli\.py ?([^\n]*)\n(.*?)```", README, re.DOTALL)


def test_there_are_samples():
    assert [command for command, _ in SAMPLES] == ["", "conv-demo"]


@pytest.mark.parametrize(("command", "sample"), SAMPLES, ids=[command for command, _ in SAMPLES])
def test_sample_output_is_the_program_s(command, sample, run_cli, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "LOGS", tmp_path)  # nothing has been run yet
    words = shlex.split(command)
    result = run_cli(*words, *(["--logdir", tmp_path] if words else []))
    printed = [line.rstrip() for line in result.output.splitlines()]
    for part in sample.split("…\n"):
        lines = [line.rstrip() for line in part.strip("\n").splitlines()]
        starts = [i for i in range(len(printed)) if printed[i : i + len(lines)] == lines]
        assert starts, "not printed in one piece:\n" + "\n".join(lines)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def measured(name: str) -> list[float]:
    """The percentages in the README's row of results for one set of images."""
    (row,) = re.findall(rf"^\| {name} \|(.*)\|$", README, re.MULTILINE)
    return [float(number) for number in re.findall(r"(\d+\.\d) %", row)]


def test_measured_results_on_photo_digits(run_cli, only_run, tmp_path):
    """Ten epochs with the default settings. Other processors round otherwise: within 6 points."""
    assert run_cli("train-cifar", "--data", "photo-digits", "--logdir", tmp_path).exit_code == 0
    history = load_checkpoint(only_run(tmp_path, "train-cifar") / "last.pt")["history"]
    first, last = (100 * history[epoch]["test_accuracy"] for epoch in (0, -1))
    assert [first, last] == pytest.approx(measured("photo-digits")[:2], abs=6)
    assert first >= 30
    assert last >= 90


@pytest.mark.real_data
def test_measured_results_on_real_cifar10(run_cli, only_run, tmp_path, request):
    folder = Path(request.config.getoption("--real-data")) / "cifar10"
    assert run_cli("train-cifar", "--data", folder, "--logdir", tmp_path).exit_code == 0
    history = load_checkpoint(only_run(tmp_path, "train-cifar") / "last.pt")["history"]
    first, last = (100 * history[epoch]["test_accuracy"] for epoch in (0, -1))
    assert [first, last] == pytest.approx(measured("CIFAR-10")[:2], abs=6)
    assert last >= 57.6
