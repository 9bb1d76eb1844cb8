"""What the README says the program prints, the program prints."""

import json
import re
import shlex
from pathlib import Path

import pytest

import cli
from shared.options import ROOT
from shared.training.checkpoint import load_checkpoint

README = (ROOT / "README.md").read_text(encoding="utf-8")
SAMPLES = re.findall(
    r"```text\n\$ python cli\.py ?([^\n]*)\n(.*?)```", README, re.DOTALL
)


def test_there_are_samples():
    assert [command for command, _ in SAMPLES] == ["", "conv-demo"]


@pytest.mark.parametrize(
    ("command", "sample"), SAMPLES, ids=[command for command, _ in SAMPLES]
)
def test_sample_output_is_the_program_s(
    command, sample, run_cli, monkeypatch, tmp_path
):
    monkeypatch.setattr(cli, "LOGS", tmp_path)  # nothing has been run yet
    words = shlex.split(command)
    result = run_cli(*words, *(["--logdir", tmp_path] if words else []))
    printed = [line.rstrip() for line in result.output.splitlines()]
    for part in sample.split("…\n"):
        lines = [line.rstrip() for line in part.strip("\n").splitlines()]
        places = range(len(printed))
        starts = [i for i in places if printed[i : i + len(lines)] == lines]
        assert starts, "not printed in one piece:\n" + "\n".join(lines)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def accuracies(run_cli, only_run, tmp_path: Path, data: str) -> list[float]:
    """What a run with default settings gets right, in percent.

    Of the held-out images after the first and the best epoch, and of the test
    images.
    """
    result = run_cli("train-cifar", "--data", data, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    folder = only_run(tmp_path, "train-cifar")
    history = load_checkpoint(folder / "last.pt")["history"]
    held_out = [row["val_accuracy"] for row in history]
    tested = json.loads((folder / "run.json").read_text())["test_accuracy"]
    return [100 * share for share in (held_out[0], max(held_out), tested)]


def assert_as_in_the_readme(images: str, measured: list[float]) -> None:
    """Another processor rounds otherwise: an epoch may differ by points."""
    (row,) = re.findall(rf"^\| {images} \|(.*)\|$", README, re.MULTILINE)
    written = [float(number) for number in re.findall(r"(\d+\.\d) %", row)][:3]
    assert measured == pytest.approx(written, abs=10)
    assert measured[2] == pytest.approx(written[2], abs=3)


def test_measured_results_on_photo_digits(run_cli, only_run, tmp_path):
    measured = accuracies(run_cli, only_run, tmp_path, "photo-digits")
    assert_as_in_the_readme("photo-digits", measured)
    assert measured[2] >= 95


@pytest.mark.real_data
def test_measured_results_on_real_cifar10(
    run_cli, only_run, tmp_path, real_data
):
    measured = accuracies(
        run_cli, only_run, tmp_path, str(real_data / "cifar10")
    )
    assert_as_in_the_readme("CIFAR-10", measured)
    assert measured[2] >= 69
