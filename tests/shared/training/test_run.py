"""Training, by a lesson of one layer.

What it keeps, what it says, and that it loses nothing.
"""

import json
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import torch
import typer
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

from shared import options
from shared.datasets.image_set import ImageSet
from shared.options import ROOT
from shared.training import distributed
from shared.training.checkpoint import load_checkpoint, save_checkpoint
from shared.training.resume import LogDir, Resume, RunFolder
from shared.training.run import Training

CHANCE = torch.Generator().manual_seed(0)
SHAPE = (53, 1, 2, 2)
PIXELS = torch.randint(0, 256, SHAPE, dtype=torch.uint8, generator=CHANCE)
PIXELS[:, 0, 0, 0] = torch.arange(53)  # an image's first pixel is its number
LABELS = torch.arange(53) % 3
IMAGES = ImageSet(PIXELS, LABELS, ["red", "green", "blue"], "noise")
# the batches of the last run, as the numbers of their images
SEEN: list[list[int]] = []
STEPS = 5  # of an epoch in batches of 10; 3 of the 53 images are left out


def tiny(
    context: typer.Context,
    run_folder: RunFolder = None,
    resume: Resume = False,
    epochs: options.Epochs = 3,
    batch_size: options.BatchSize = 10,
    lr: options.LearningRate = 0.1,
    precision: options.Precision = "float32",
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    logdir: LogDir = Path("logs"),
    dropout: float = 0.0,
    worse: bool = False,
) -> None:
    """Adam and a schedule on one linear layer.

    The held-out losses are −1, 2, −3, 4, … So the epochs 1, 3, 5, … are each
    the best so far; with --worse, the first one stays it.
    """
    with Training(context, "SCALARS: loss") as training:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Dropout(dropout), nn.Linear(4, 3))
        optimizer = torch.optim.Adam(model.parameters(), lr)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
        training.begin(IMAGES, IMAGES, IMAGES, **parts)
        SEEN.clear()
        replica = training.parallel(model)
        for epoch in training.epochs():
            for images, labels in training.batches(IMAGES, epoch):
                SEEN.append(images[:, 0, 0, 0].tolist())
                loss = F.cross_entropy(replica(images.flatten(1) / 255), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                training.track(loss)
            scheduler.step()
            val_loss = epoch if worse or epoch % 2 == 0 else -epoch
            training.end_epoch(val_loss=float(val_loss))
        training.load_best()
        training.end(test_loss=model[1].weight.sum().item())


app = typer.Typer()
app.command()(tiny)


@pytest.fixture
def run_tiny(tmp_path):
    """run_tiny("--epochs", 2) runs the lesson in tmp_path.

    It returns the result and the run's folder.
    """

    def run(*words: object):
        command = [*map(str, words), "--logdir", str(tmp_path)]
        result = CliRunner().invoke(app, command)
        folders = sorted((tmp_path / "test-run").glob("*"))
        return result, next(iter(folders), None)

    return run


def steps(events: EventAccumulator, tag: str) -> list[int]:
    return [event.step for event in events.Scalars(tag)]


def weights(folder: Path, name: str = "last.pt") -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / name)["model"]


def seen_by_epoch() -> list[list[int]]:
    """The numbers of the images of each epoch of the last run, in order."""
    firsts = range(0, len(SEEN), STEPS)
    return [[*chain(*SEEN[first : first + STEPS])] for first in firsts]


def test_no_image_comes_twice_in_an_order_of_seed_and_epoch_alone(run_tiny):
    run_tiny("--epochs", 3)
    seen = list(SEEN)
    assert [len(batch) for batch in seen] == [10] * 3 * STEPS
    epochs = seen_by_epoch()
    left_out = [set(range(53)) - set(epoch) for epoch in epochs]
    assert [len(numbers) for numbers in left_out] == [3, 3, 3], "none twice"
    assert left_out[0] != left_out[1] != left_out[2]
    assert not set.intersection(*left_out), "each comes in another epoch"
    orders = [
        [number for number in epoch if number in set(epochs[0])]
        for epoch in epochs
    ]
    assert orders[0] != orders[1] != orders[2]
    run_tiny("--epochs", 3)
    assert seen == SEEN
    run_tiny("--epochs", 3, "--seed", 1)
    assert seen != SEEN


@pytest.mark.parametrize("dropout", ["0", "0.5"])
def test_stopped_and_resumed_is_never_stopped(run_tiny, tmp_path, dropout):
    whole = weights(run_tiny("--epochs", 4, "--dropout", dropout)[1])
    logdir = ["--logdir", str(tmp_path / "b")]
    words = ["--epochs", "1", "--dropout", dropout]
    result = CliRunner().invoke(app, [*words, *logdir])
    assert result.exit_code == 0, result.output
    for epochs in ("2", "4"):
        words = ["--resume", "--epochs", epochs]
        result = CliRunner().invoke(app, [*words, *logdir])
        assert result.exit_code == 0, result.output
    (folder,) = (tmp_path / "b" / "test-run").iterdir()
    resumed = weights(folder)
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name
    assert load_checkpoint(folder / "last.pt")["scheduler"]["last_epoch"] == 4


def test_resume_takes_every_option_from_the_run_and_refuses_another(run_tiny):
    words = ("--lr", 0.025, "--batch-size", 7, "--worse", "--epochs", 1)
    _, folder = run_tiny(*words)
    # the arguments in any order
    result, _ = run_tiny(folder, "--resume", "--epochs", 2)
    assert result.exit_code == 0, result.output
    settings = load_checkpoint(folder / "last.pt")["settings"]
    kept = [settings[name] for name in ("lr", "batch_size", "worse")]
    assert kept == [0.025, 7, True]
    assert max(map(len, SEEN)) == 7, "the lesson's own arguments are the run's"
    result, _ = run_tiny("--resume", "--lr", 0.5)
    assert result.exit_code == 2
    said = " ".join(result.stderr.replace("│", " ").split())
    assert "was started with 0.025, not 0.5" in said


@pytest.mark.parametrize(("worse", "best"), [(True, 1), (False, 3)])
def test_without_accuracy_the_lowest_held_out_loss_is_best(
    run_tiny, worse, best
):
    result, folder = run_tiny(*(["--worse"] if worse else []))
    assert len(load_checkpoint(folder / "best.pt")["history"]) == best
    about = json.loads((folder / "run.json").read_text())
    assert about["best"]["epoch"] == best
    total = weights(folder, "best.pt")["1.weight"].sum().item()
    # end() reports the best weights, not the last
    assert about["test_loss"] == total
    assert "epoch  train loss  val loss  seconds" in result.output


def test_the_train_loss_is_a_mean_over_images_and_the_curves_are_logged(
    run_tiny, read_events
):
    """Over those that were trained on: the three left out don't count."""
    _, folder = run_tiny("--lr", 0, "--epochs", 21)
    history = load_checkpoint(folder / "last.pt")["history"]
    last = weights(folder)
    logits = F.linear(PIXELS.flatten(1) / 255, last["1.weight"], last["1.bias"])
    losses = F.cross_entropy(logits, LABELS, reduction="none")  # of each image
    for row, numbers in zip(history, seen_by_epoch(), strict=True):
        assert row["train_loss"] == pytest.approx(losses[numbers].mean().item())
    assert history[0]["train_loss"] != pytest.approx(losses.mean().item())
    events = read_events(folder)
    ends = list(range(STEPS, 106, STEPS))  # of the epochs
    assert steps(events, "loss/train") == steps(events, "loss/val") == ends
    for event, row in zip(events.Scalars("loss/train"), history, strict=True):
        assert event.value == pytest.approx(row["train_loss"])
    assert steps(events, "loss/batch") == [100]
    (logged,) = events.Scalars("loss/batch")
    assert logged.value == pytest.approx(losses[SEEN[99]].mean().item())
    assert steps(events, "loss/test") == [106]


def test_going_on_after_the_report_replaces_the_report(run_tiny, read_events):
    run_tiny("--epochs", 1)
    _, folder = run_tiny("--resume", "--epochs", 2)
    run_tiny("--resume")
    events = read_events(folder)
    assert steps(events, "loss/test") == [2 * STEPS + 1]
    assert steps(events, "loss/val") == [STEPS, 2 * STEPS]


def test_a_damaged_best_is_mended_where_the_last_epoch_is_the_best(run_tiny):
    _, folder = run_tiny("--epochs", 3)
    (folder / "best.pt").write_bytes(b"")
    result, _ = run_tiny("--resume")
    assert result.exit_code == 0, result.output
    assert load_checkpoint(folder / "best.pt")["history"][-1]["epoch"] == 3


def test_a_damaged_best_does_not_stop_the_report(run_tiny):
    _, folder = run_tiny("--epochs", 2)
    (folder / "best.pt").write_bytes(b"")
    result, _ = run_tiny("--resume")
    assert result.exit_code == 0, result.output
    assert "going on from last.pt instead" in result.stderr


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_of_a_batch_add_up_to_it(monkeypatch, count):
    monkeypatch.setattr(distributed, "WORLD_SIZE", 3)
    labels, shares, found = torch.arange(count), 0.0, []
    for rank in range(3):
        monkeypatch.setattr(distributed, "RANK", rank)
        _, mine, share = distributed.part(labels, labels)
        assert len(mine), "no process is left without an image"
        found += mine.tolist() if share else []
        shares += share
    assert sorted(found) == labels.tolist()
    assert shares == pytest.approx(1)


@pytest.mark.parametrize("strange", ["made_by", "settings", "model"])
def test_a_run_that_does_not_fit_gets_a_sentence(run_tiny, strange):
    """Of an earlier version, of a lesson with other options or network."""
    _, folder = run_tiny("--epochs", 1)
    kept = load_checkpoint(folder / "last.pt")
    if strange == "made_by":
        del kept["made_by"]
    else:
        kept[strange].popitem()
    save_checkpoint(folder / "last.pt", kept)
    result, _ = run_tiny("--resume")
    assert result.exit_code == 1, result.output
    problem, next_step = result.stderr.splitlines()[-2:]
    reason = "was made by an earlier test-run, or by another lesson."
    assert problem == f"Error: {folder} {reason}"
    assert next_step == "Next: start a new run: python cli.py test-run"


def test_a_loss_that_runs_away_ends_the_command_and_keeps_what_was_good(
    run_tiny, monkeypatch
):
    _, folder = run_tiny("--epochs", 1)
    before = weights(folder)
    monkeypatch.setattr("shared.training.run.RAN_AWAY", 0.5)
    result, _ = run_tiny("--resume", "--epochs", 2)
    assert result.exit_code == 1
    assert "In epoch 2 the loss ran away: " in result.stderr
    assert result.stderr.splitlines()[-1] == "Next: try --lr 0.01"
    after = weights(folder)
    for name, value in before.items():
        assert torch.equal(after[name], value), name


def test_without_torchrun_the_loop_calls_the_model_itself():
    model = nn.Linear(1, 1)
    assert distributed.parallel(model, float) is model


# Kills the lesson at each moment of each write, and lets it go on: argv is the
# log folder. The processes are forks of one that has imported everything, and
# never trained itself.
KILLS = """
import itertools, os, signal, sys
from pathlib import Path
import torch
from tests.shared.training.test_run import app

torch.set_num_threads(1)
torch.optim.SGD([torch.zeros(1)])  # the first optimizer imports for seconds

def run(logdir, words, death=None):
    if process := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    fsync, replace, moments = os.fsync, Path.replace, itertools.count()
    def die(file):
        if next(moments) == death:
            if file:
                os.ftruncate(file, os.fstat(file).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
    def half_written(file):
        die(file)
        fsync(file)
    def renamed(path, target):
        replace(path, target)
        die(None)
    os.fsync, Path.replace = half_written, renamed
    sys.stdout = sys.stderr = open(os.devnull, "w")
    app([*words, "--logdir", str(logdir)])

logs = Path(sys.argv[1])
assert run(logs / "whole", ["--epochs", "3"]) == 0
for death in itertools.count():
    code = run(logs / f"killed-{death}", ["--epochs", "3"], death)
    if code == 0:
        break
    assert code == -signal.SIGKILL, code
"""
RESUMES = (
    KILLS[: KILLS.index("assert run")]
    + """
for folder in logs.glob("killed-*"):
    code = run(folder, ["--resume"])
    expected = 0 if list(folder.glob("*/*.pt")) or not code else 1
    assert code == expected, (folder, code)
"""
)


def in_a_process(code: str, *words: object) -> None:
    command = [sys.executable, "-c", code, *map(str, words)]
    process = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert process.returncode == 0, process.stderr


def left_by(folder: Path) -> list[object]:
    """All that a run leaves in its folder, but for the times and the curves."""
    left = [load_checkpoint(folder / name) for name in ("last.pt", "best.pt")]
    left.append(json.loads((folder / "run.json").read_text()))
    table = (folder / "metrics.csv").read_text().splitlines()
    rows = [*left[0]["history"], *left[1]["history"]]
    for row in [*rows, left[2]["best"], left[2]["last"]]:
        row["seconds"] = 0
    return [*map(plain, left), [line.rpartition(",")[0] for line in table]]


def plain(value: object) -> object:
    """Tensors as lists, so that == compares them."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return value.tolist() if isinstance(value, torch.Tensor) else value


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_at_any_moment_of_any_write_changes_nothing(tmp_path):
    in_a_process(KILLS, tmp_path)
    killed = sorted(tmp_path.glob("killed-*/test-run/*"))
    # 13 writes with two moments each, and one run that ended
    assert len(killed) == 27
    for folder in killed:
        paths = folder.glob("*.pt")
        # each is whole
        kept = {path.name: load_checkpoint(path) for path in paths}
        if "best.pt" in kept:
            rows = kept["best.pt"]["history"]
            last = kept["last.pt"]["history"]
            assert rows == last[: len(rows)], "best.pt is of this very run"
    in_a_process(RESUMES, tmp_path)
    (whole,) = tmp_path.glob("whole/test-run/*")
    expected = left_by(whole)
    assert [len(kept["history"]) for kept in expected[:2]] == [3, 3]
    for folder in killed:
        if (folder / "last.pt").exists():
            assert left_by(folder) == expected, folder


@pytest.mark.skipif(os.name == "nt", reason="gloo on Windows is not tested")
@pytest.mark.parametrize("batch_size", [16, 2])
def test_three_processes_learn_what_one_does_even_from_uneven_batches(
    run_tiny, tmp_path, batch_size
):
    """Batches of 16: shares of 6, 5 and 5 images.

    A batch of 2 is too small for all: the third process has the share 0.
    """
    words = ["--epochs", "5", "--batch-size", str(batch_size)]
    _, alone = run_tiny(*words)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, "--nproc-per-node=3"]
    command += ["-m", "tests.shared.training.test_run", *words]
    command += ["--logdir", str(tmp_path / "3")]
    process = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert process.returncode == 0, process.stderr
    (together,) = (tmp_path / "3" / "test-run").iterdir()
    assert weights(together).keys() == weights(alone).keys()
    for name, value in weights(alone).items():
        ours = weights(together)[name]
        torch.testing.assert_close(ours, value, rtol=1e-5, atol=1e-6)
    losses = (
        load_checkpoint(path / "last.pt")["history"]
        for path in (alone, together)
    )
    for ours, theirs in zip(*losses, strict=True):
        expected = pytest.approx(theirs["train_loss"], rel=1e-6)
        assert ours["train_loss"] == expected


if __name__ == "__main__":
    app()
