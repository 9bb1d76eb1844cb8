"""train-cifar: its functions, the run's folder, and above all that a killed run loses nothing."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

from cli import app
from lessons import train_cifar as lesson
from shared.checkpoint import load_checkpoint
from shared.datasets import ImageSet, photo_digits
from shared.options import ROOT

made_once = cache(photo_digits)
SMALL = ("--data", "photo-digits", "--limit", 600, "--device", "cpu")


@pytest.fixture(autouse=True)
def images_made_once(monkeypatch):
    monkeypatch.setattr("shared.sources.photo_digits", made_once)


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
    result = run_cli("train-cifar", *SMALL, "--epochs", 2, "--batch-size", 6, "--logdir", tmp_path)
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
    assert [event.step for event in events.Scalars("loss/train")] == [100, 200]
    for tag, column in (("loss/test", "test_loss"), ("accuracy/test", "test_accuracy")):
        logged = events.Scalars(tag)
        assert [event.step for event in logged] == [100, 200]
        assert logged[-1].value == pytest.approx(float(rows[-1][column]), rel=1e-6)
    assert events.Scalars("optimizer/lr")[-1].value == pytest.approx(0.01)
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


@pytest.mark.parametrize("flip", [True, False])
def test_augmented_images_are_shifted_and_only_flipped_where_asked(flip):
    images = torch.randint(1, 256, (64, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(64)
    chance = torch.Generator().manual_seed(0)
    changed, same = lesson.shift_and_flip((images, labels), chance=chance, flip=flip)
    assert torch.equal(same, labels)
    flips = 0
    for before, after in zip(F.pad(images, (4,) * 4), changed, strict=True):
        windows = before.unfold(1, 32, 1).unfold(2, 32, 1).permute(1, 2, 0, 3, 4)  # (9, 9, 3, ...)
        plain = (windows == after).flatten(2).all(2).any()
        mirrored = (windows == after.flip(2)).flatten(2).all(2).any()
        assert plain or mirrored
        flips += int(mirrored)
    assert 15 < flips < 49 if flip else flips == 0


def test_bf16_learns_too(run_cli, only_run, tmp_path):
    words = ("--precision", "bf16", "--epochs", 2, "--lr", 0.02)
    assert run_cli("train-cifar", *SMALL, *words, "--logdir", tmp_path).exit_code == 0
    history = load_checkpoint(only_run(tmp_path, "train-cifar") / "last.pt")["history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]


# ---- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--epochs", 0), "'--epochs'"),
        (("--epochs", -1), "'--epochs'"),
        (("--epochs", "abc"), "'--epochs'"),
        (("--lr", "nan"), "'--lr'"),
        (("--lr", "inf"), "inf is not a finite number"),
        (("--batch-size", 601), "601 is more than the 600 training images"),
        (("--device", "tpu"), "'tpu' is not one of auto, cpu, cuda, cuda:N, mps"),
        (("--activation", "gelu"), "'--activation'"),
        (("some-folder",), "goes with --resume"),
        (("--download",), "goes with --data cifar10"),
    ],
)
def test_wrong_options_exit_2_and_leave_nothing(run_cli, tmp_path, words, problem):
    result = run_cli("train-cifar", *SMALL, *words, "--logdir", tmp_path / "logs")
    assert result.exit_code == 2, result.output
    assert problem in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "logs").exists()


def assert_mendable(result, *words: str) -> None:
    """Exit code 1 and, at the end of stderr, one sentence with the words and one next step."""
    assert result.exit_code == 1, result.output
    problem, next_step = result.stderr.splitlines()[-2:]
    assert problem.startswith("Error: ")
    assert next_step.startswith("Next: ")
    for word in words:
        assert word in problem


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("name", ["cuda", "cuda:9"])
def test_cuda_without_cuda(run_cli, tmp_path, name):
    result = run_cli("train-cifar", "--device", name, "--logdir", tmp_path / "logs")
    assert_mendable(result, f"--device {name}")
    assert not (tmp_path / "logs").exists()


def test_a_learning_rate_that_diverges_stops_with_the_next_step(run_cli, tmp_path):
    result = run_cli("train-cifar", *SMALL, "--lr", 1000, "--epochs", 2, "--logdir", tmp_path)
    assert_mendable(result, "the loss became nan")
    assert "try --lr 100" in result.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_gpu_learns_and_the_run_goes_on_without_it(run_cli, only_run, tmp_path, precision):
    words = ("--data", "photo-digits", "--epochs", 2, "--augment", "--precision", precision)
    result = run_cli("train-cifar", *words, "--device", "cuda", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    folder = only_run(tmp_path, "train-cifar")
    assert load_checkpoint(folder / "last.pt")["history"][-1]["test_accuracy"] > 0.4
    more = ("--resume", "--epochs", 3, "--device", "cpu", "--logdir", tmp_path)
    assert run_cli("train-cifar", *more).exit_code == 0
    assert len(load_checkpoint(folder / "last.pt")["history"]) == 3


@pytest.mark.gpu
def test_a_gpu_that_is_not_there(run_cli, tmp_path):
    assert_mendable(run_cli("train-cifar", "--device", "cuda:99", "--logdir", tmp_path), "cuda:99")


def test_data_that_is_not_there(run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr("shared.sources.DATA", tmp_path)
    assert_mendable(run_cli("train-cifar", "--data", tmp_path / "no", "--logdir", tmp_path), "no")
    assert_mendable(run_cli("train-cifar", "--data", "cifar10", "--logdir", tmp_path), "CIFAR-10")


def test_a_log_folder_that_cannot_be_written(run_cli, tmp_path):
    (tmp_path / "file").write_text("")
    result = run_cli("train-cifar", *SMALL, "--epochs", 1, "--logdir", tmp_path / "file")
    assert_mendable(result, "Can't write to", str(tmp_path / "file"))


# ---- resuming -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A log folder with one run of two epochs; tests copy it before they change anything."""
    logdir = tmp_path_factory.mktemp("trained")
    words = ["train-cifar", *map(str, SMALL), "--epochs", "2", "--logdir", str(logdir)]
    assert CliRunner().invoke(app, words).exit_code == 0
    return logdir


@pytest.fixture
def earlier(trained, tmp_path) -> Path:
    shutil.copytree(trained, tmp_path / "logs")
    return tmp_path / "logs"


def test_resume_goes_on_in_the_same_folder_and_the_same_curves(
    run_cli, read_events, only_run, earlier
):
    result = run_cli("train-cifar", "--resume", "--epochs", 3, "--logdir", earlier)
    assert result.exit_code == 0, result.output
    assert "Going on after epoch 2" in result.output
    folder = only_run(earlier, "train-cifar")
    assert len((folder / "metrics.csv").read_text().splitlines()) == 4
    events = read_events(folder)
    assert [event.step for event in events.Scalars("accuracy/test")] == [10, 20, 30]
    assert json.loads((folder / "run.json").read_text())["settings"]["epochs"] == 3


def test_resume_by_the_folder_s_name(run_cli, only_run, earlier, tmp_path):
    folder = only_run(earlier, "train-cifar")
    elsewhere = tmp_path / "elsewhere"
    result = run_cli("train-cifar", "--resume", folder, "--epochs", 3, "--logdir", elsewhere)
    assert result.exit_code == 0, result.output
    assert len(load_checkpoint(folder / "last.pt")["history"]) == 3
    assert not elsewhere.exists()


def test_resume_without_a_run(run_cli, tmp_path):
    assert_mendable(run_cli("train-cifar", "--resume", "--logdir", tmp_path), "no run to resume")


def test_resume_of_a_finished_run_names_the_way_on(run_cli, earlier):
    result = run_cli("train-cifar", "--resume", "--logdir", earlier)
    assert_mendable(result, "all its 2 epochs")
    assert "--resume --epochs 4" in result.stderr


@pytest.mark.parametrize("words", [("--data", "cifar10"), ("--lr", 0.5), ("--seed", 7)])
def test_resume_with_another_setting(run_cli, only_run, earlier, words):
    before = (only_run(earlier, "train-cifar") / "last.pt").read_bytes()
    result = run_cli("train-cifar", "--resume", "--epochs", 3, *words, "--logdir", earlier)
    assert result.exit_code == 2, result.output
    assert "was started with" in result.stderr
    assert (only_run(earlier, "train-cifar") / "last.pt").read_bytes() == before


def test_resume_with_the_same_setting_said_again(run_cli, earlier):
    words = ("--data", "photo-digits", "--lr", 0.01, "--epochs", 3)
    assert run_cli("train-cifar", "--resume", *words, "--logdir", earlier).exit_code == 0


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_resume_falls_back_to_best_where_last_is_damaged(run_cli, only_run, earlier, damage):
    folder = only_run(earlier, "train-cifar")
    content = bytearray((folder / "last.pt").read_bytes())
    content[len(content) // 2] ^= 0xFF
    if damage == "gone":
        (folder / "last.pt").unlink()
    else:
        whole = bytes(content)
        (folder / "last.pt").write_bytes(whole if damage == "flipped" else whole[:-1000])
    result = run_cli("train-cifar", "--resume", "--epochs", 3, "--logdir", earlier)
    assert result.exit_code == 0, result.output
    assert "going on from best.pt instead" in result.stderr
    assert len(load_checkpoint(folder / "last.pt")["history"]) == 3


def test_resume_where_both_are_damaged(run_cli, only_run, earlier):
    for path in only_run(earlier, "train-cifar").glob("*.pt"):
        path.write_bytes(path.read_bytes()[:100])
    result = run_cli("train-cifar", "--resume", "--epochs", 3, "--logdir", earlier)
    assert_mendable(result, "no checkpoint that can be read")


def test_resume_when_the_images_have_changed(run_cli, earlier, monkeypatch):
    fewer = lesson.load_images("photo-digits")[0].limited(500)
    monkeypatch.setattr(lesson, "load_images", lambda source: (fewer, fewer))
    result = run_cli("train-cifar", "--resume", "--epochs", 3, "--logdir", earlier)
    assert_mendable(result, "have changed")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_while_a_checkpoint_is_written_loses_nothing(run_cli, only_run, earlier):
    folder = only_run(earlier, "train-cifar")
    before = (folder / "last.pt").read_bytes()
    (folder / "last.pt.part").symlink_to("/dev/full")
    result = run_cli("train-cifar", "--resume", "--epochs", 3, "--logdir", earlier)
    assert_mendable(result, "The disk is full")
    assert (folder / "last.pt").read_bytes() == before
    assert run_cli("train-cifar", "--resume", "--epochs", 3, "--logdir", earlier).exit_code == 0


# ---- stopped runs -------------------------------------------------------------------------------

DYING = """
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
    "between writing and renaming the first last.pt": """
whole = Path.replace
Path.replace = lambda self, to: die() if to.name == "last.pt" else whole(self, to)
""",
    "half way through writing the second last.pt": """
whole, writes = checkpoint.write_whole, []
def half(path, content):
    writes.append(path.name)
    if writes.count("last.pt") == 2:
        content = content[: len(content) // 2]
        checkpoint.os.fsync = die
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


def finish(words: list[str], logdir: Path) -> dict[str, torch.Tensor]:
    """Run a command to its end in a process of its own; return the weights it leaves."""
    command = [sys.executable, "cli.py", *words, "--logdir", str(logdir)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    last = max(logdir.glob("*/*/last.pt"), key=os.path.getmtime)
    return load_checkpoint(last)["model"]


def assert_same_weights(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, torch.Tensor]:
    """The weights of a run that nothing stopped."""
    return finish(WORDS, tmp_path_factory.mktemp("uninterrupted"))


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_at_any_moment_resumes_to_the_same_weights(
    moment, uninterrupted, read_events, only_run, tmp_path
):
    code = DYING.format(
        signal="SIGKILL", where=MOMENTS[moment], words=[*WORDS, "--logdir", str(tmp_path)]
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=300
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    folder = only_run(tmp_path, "train-cifar")
    kept = [load_checkpoint(path) for path in folder.glob("*.pt")]  # each of them is whole
    if not kept:
        return
    assert_same_weights(finish(["train-cifar", "--resume"], tmp_path), uninterrupted)
    steps = [event.step for event in read_events(folder).Scalars("accuracy/test")]
    assert steps == [10, 20, 30], "one curve, without repeats"


def test_a_run_killed_at_a_random_moment_resumes_to_the_same_weights(uninterrupted, tmp_path):
    command = [sys.executable, "cli.py", *WORDS, "--logdir", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while not list(tmp_path.glob("*/*/last.pt")):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(random.random())
    process.kill()
    process.wait()
    done = len(load_checkpoint(next(tmp_path.glob("*/*/last.pt")))["history"])
    if done < 3:
        assert_same_weights(finish(["train-cifar", "--resume"], tmp_path), uninterrupted)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a whole console only")
@pytest.mark.parametrize("moment", list(MOMENTS)[:3])
def test_ctrl_c_says_what_is_kept_and_exits_130(moment, only_run, tmp_path):
    code = DYING.format(
        signal="SIGINT", where=MOMENTS[moment], words=[*WORDS, "--logdir", str(tmp_path)]
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 130, process.stderr
    assert "Traceback" not in process.stderr
    folder = only_run(tmp_path, "train-cifar")
    if (folder / "last.pt").exists():
        assert f"python cli.py train-cifar --resume {folder}" in process.stderr
        load_checkpoint(folder / "last.pt")
    else:
        assert "nothing to resume" in process.stderr
    assert not list(folder.glob("*.part"))


def test_two_processes_go_on_as_one_would(trained, run_cli, only_run, tmp_path):
    """Each takes its share of the same batches: the same weights but for rounding."""
    for name in ("one", "two"):
        shutil.copytree(trained, tmp_path / name)
    words = ["train-cifar", "--resume", "--epochs", "4"]
    assert run_cli(*words, "--logdir", tmp_path / "one").exit_code == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "cli.py", *words, "--logdir", str(tmp_path / "two")]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("600 training and 600 test images on cpu") == 1
    alone, together = (
        load_checkpoint(only_run(tmp_path / name, "train-cifar") / "last.pt")
        for name in ("one", "two")
    )
    for name, value in alone["model"].items():
        torch.testing.assert_close(together["model"][name], value, rtol=1e-3, atol=1e-5)
    assert len(together["history"]) == 4
    for ours, theirs in zip(together["history"], alone["history"], strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-4)
