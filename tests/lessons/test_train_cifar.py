"""train-cifar: its functions, the run's folder, and above all that a killed run loses nothing."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lessons import train_cifar as lesson
from shared.checkpoint import load_checkpoint
from shared.datasets import ImageSet
from shared.options import ROOT

SMALL = ("--data", "photo-digits", "--limit", 600, "--device", "cpu")


@pytest.fixture
def images() -> ImageSet:
    pixels = torch.randint(0, 256, (50, 3, 32, 32), dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(50) % 10, [str(digit) for digit in range(10)], "noise")


def test_evaluate_averages_over_images_not_over_batches(images, monkeypatch):
    model = lesson.build(images, "none", seed=0)
    batches = images.batches
    monkeypatch.setattr(images, "batches", lambda size: batches(16))  # 16, 16, 16 and 2
    loss, predictions = lesson.evaluate(model, images)
    with torch.no_grad():
        logits = model(images.images)
    assert loss == pytest.approx(F.cross_entropy(logits, images.labels).item(), rel=1e-5)
    assert torch.equal(predictions, logits.argmax(1))


def test_train_epoch_is_the_plain_sgd_loop(images, tmp_path):
    model, plain = lesson.build(images, "relu", seed=1), lesson.build(images, "relu", seed=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with lesson.SummaryWriter(str(tmp_path)) as writer:
        autocast = lesson.pick_autocast(torch.device("cpu"), "float32")
        loader = images.batches(20)
        loss = lesson.train_epoch(model, loader, optimizer, autocast, writer, 0, lambda n: None)
    losses = []
    for start in (0, 20, 40):
        batch, labels = images[list(range(start, min(start + 20, 50)))]
        batch_loss = F.cross_entropy(plain(batch), labels)
        gradients = torch.autograd.grad(batch_loss, list(plain.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(plain.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient
        losses.append(batch_loss.item() * len(labels))
    assert loss == pytest.approx(sum(losses) / 50, rel=1e-5)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_network_is_the_course_s(images):
    model = lesson.build(images, "none", seed=0)
    assert sum(parameter.numel() for parameter in model.parameters()) == 145_578
    assert not any(isinstance(layer, nn.ReLU) for layer in model.modules())
    assert sum(isinstance(m, nn.ReLU) for m in lesson.build(images, "relu", 0).modules()) == 4
    assert model(images.images).shape == (50, 10)


def test_run_leaves_everything_behind(run_cli, read_events, only_run, tmp_path):
    result = run_cli("train-cifar", *SMALL, "--epochs", 2, "--batch-size", 4, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    folder = only_run(tmp_path, "train-cifar")
    assert "600 training and 600 test images on cpu" in result.output
    assert "photo-digits" in result.output
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    last, best = load_checkpoint(folder / "last.pt"), load_checkpoint(folder / "best.pt")
    assert last["settings"]["lr"] == 0.01
    assert len(last["history"]) == 2
    top = max(float(row["test_accuracy"]) for row in rows)
    assert best["history"][-1]["test_accuracy"] == top
    about = json.loads((folder / "run.json").read_text())
    assert about["data"] == {"name": "photo-digits", "train": 600, "test": 600}
    assert about["last"]["test_accuracy"] == float(rows[-1]["test_accuracy"])
    accuracy = float(rows[-1]["test_accuracy"])
    assert f"{accuracy:.1%}" in result.output

    events = read_events(folder)
    assert [event.step for event in events.Scalars("loss/train")] == [100, 200, 300]
    for tag, column in (("loss/test", "test_loss"), ("accuracy/test", "test_accuracy")):
        logged = events.Scalars(tag)
        assert [event.step for event in logged] == [150, 300]
        assert logged[-1].value == pytest.approx(float(rows[-1][column]), rel=1e-6)
    assert events.Scalars("learning rate")[-1].value == pytest.approx(0.01)
    assert events.Scalars("result/last")[-1].value == pytest.approx(accuracy)
    assert {"images/input", "figures/confusion", "figures/predictions"} <= set(
        events.Tags()["images"]
    )


def test_the_saved_model_is_the_one_that_was_tested(run_cli, only_run, tmp_path):
    run_cli("train-cifar", *SMALL, "--epochs", 1, "--logdir", tmp_path)
    checkpoint = load_checkpoint(only_run(tmp_path, "train-cifar") / "last.pt")
    train_set, test_set = (part.limited(600) for part in lesson.load_images("photo-digits"))
    model = lesson.build(train_set, "none", seed=123)
    model.load_state_dict(checkpoint["model"])
    loss, predictions = lesson.evaluate(model, test_set)
    assert loss == checkpoint["history"][-1]["test_loss"]
    assert test_set.accuracy(predictions) == checkpoint["history"][-1]["test_accuracy"]


# ---- stopped runs -------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
import shared.checkpoint as checkpoint
from shared import board

def die(*_, **__):
    os.kill(os.getpid(), signal.{signal})

{where}
sys.argv = ["cli.py", *{words!r}]
from cli import app
app()
"""
# Each moment replaces one call of the running program by its sudden death.
MOMENTS = {
    "in the first batch": """
import lessons.train_cifar as lesson
lesson.F.cross_entropy = die
""",
    "in the second epoch": """
import lessons.train_cifar as lesson
whole = lesson.F.cross_entropy
calls = iter(range(10_000))
lesson.F.cross_entropy = lambda *a, **k: die() if next(calls) == 30 else whole(*a, **k)
""",
    "between writing and renaming the first last.pt": """
whole = Path.replace
Path.replace = lambda self, to: die() if to.name == "last.pt" else whole(self, to)
""",
    "half way through writing the second last.pt": """
whole, writes = checkpoint.write_whole, []
def half(path, content):
    writes.append(path.name)
    if writes.count("last.pt") == 2:
        path.with_name(path.name + ".part").write_bytes(content[: len(content) // 2])
        die()
    whole(path, content)
checkpoint.write_whole = half
""",
    "after best.pt, before last.pt, of the second epoch": """
whole, saves = checkpoint.save_checkpoint, []
def stop_before_last(path, content):
    saves.append(path.name)
    die() if saves.count("last.pt") == 2 else whole(path, content)
checkpoint.save_checkpoint = stop_before_last
""",
}
WORDS = ["train-cifar", *map(str, SMALL), "--epochs", "3", "--momentum", "0.9", "--augment"]


def start_process(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, torch.Tensor]:
    """The weights of a run that nothing stopped."""
    logdir = tmp_path_factory.mktemp("uninterrupted")
    words = [sys.executable, "cli.py", *WORDS, "--logdir", str(logdir)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return load_checkpoint(next(logdir.glob("*/*/last.pt")))["model"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_run_resumes_to_the_same_weights(
    moment, uninterrupted, run_cli, read_events, only_run, tmp_path
):
    words = [*WORDS, "--logdir", str(tmp_path)]
    process = start_process(KILLED.format(signal="SIGKILL", where=MOMENTS[moment], words=words))
    assert process.returncode == -signal.SIGKILL, process.stderr
    folder = only_run(tmp_path, "train-cifar")
    for path in folder.glob("*.pt"):
        load_checkpoint(path)  # whatever is there is whole

    resume = ["--resume"] if list(folder.glob("*.pt")) else []
    if not resume:
        assert run_cli("train-cifar", "--resume", "--logdir", tmp_path).exit_code == 1
    words = WORDS if not resume else ["train-cifar", "--resume"]
    finished = subprocess.run(
        [sys.executable, "cli.py", *words, "--logdir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    last = max(tmp_path.glob("*/*/last.pt"), key=os.path.getmtime)
    weights = load_checkpoint(last)["model"]
    assert weights.keys() == uninterrupted.keys()
    for name, value in uninterrupted.items():
        assert torch.equal(weights[name], value), name
    if resume:
        assert last.parent == folder
        steps = [event.step for event in read_events(folder).Scalars("accuracy/test")]
        assert steps == [10, 20, 30], "one curve, without repeats"
