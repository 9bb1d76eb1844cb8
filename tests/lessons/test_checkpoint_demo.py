"""checkpoint-demo: its mistakes and sentences (cases: test_exercises.py)."""

import os
import re
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from lessons import checkpoint_demo as lesson
from shared.datasets.embedded import digits

SPREAD = r"(\d+\.\d\d) \((\d+\.\d\d) to (\d+\.\d\d)\)"


@pytest.fixture(scope="module")
def batch():
    train_set = digits()[0].limited(500)
    return [train_set.images.flatten(1) / 255, train_set.labels]


@pytest.fixture
def saved(batch, tmp_path):
    """Five files, and the losses of the runs that wrote them."""
    files = [tmp_path / f"{seed}.pt" for seed in range(5)]
    runs = [lesson.train_and_save(p, s, batch) for s, p in enumerate(files)]
    return files, runs


def ctrl_c():
    return patch("torch.serialization._save", side_effect=KeyboardInterrupt)


def test_what_is_worked_on_paper():
    one, up = torch.tensor(1.0), torch.tensor(0.5)
    memory, first = lesson.adam_step(one, up, lesson.EMPTY, 0.1)
    assert first.item() == pytest.approx(0.9)
    memory, second = lesson.adam_step(first, -up, memory, 0.1)
    assert memory["exp_avg"].item() == pytest.approx(-0.005)
    assert second.item() == pytest.approx(0.9053, abs=5e-5)
    for gradient in (-0.5, -0.0005, -7.0, 1e6):  # a new Adam: lr
        grad = torch.tensor(gradient)
        _, other = lesson.adam_step(first, grad, lesson.EMPTY, 0.1)
        assert abs(other - first).item() == pytest.approx(0.1, rel=1e-4)
    _, other = lesson.adam_step(first, torch.tensor(0.0), lesson.EMPTY, 0.1)
    assert other == first  # most weights move by lr, and not all


def test_a_resumed_run_is_the_same_to_the_last_bit(saved, batch):
    for path, straight in zip(*saved, strict=True):
        model, optimizer, epoch = lesson.resume(path)
        losses = lesson.train(model, optimizer, batch, 60 - epoch)
        assert epoch == 30
        assert torch.equal(losses, straight[30:])
    another = Adam(model.parameters(), lr=1.0)
    saved_state = torch.load(path, weights_only=True)["optimizer"]
    another.load_state_dict(saved_state)
    assert another.param_groups[0]["lr"] == 0.03  # it comes with the file
    assert sum(p.numel() for p in model.parameters()) == 4810


def test_without_the_optimizer_the_loss_jumps_for_every_seed(saved, batch):
    files, runs = saved
    lost = re.search(SPREAD, lesson.wrong_morning(files, batch)).groups()
    kept = re.search(SPREAD, lesson.right_morning(files, batch)).groups()
    assert float(lost[1]) > 3 * float(kept[2])
    for path, straight in zip(files, runs, strict=True):
        model, optimizer, _ = lesson.resume(path)
        before = model[0].weight.detach().clone()
        again, _, _ = lesson.resume(path)
        new = Adam(again.parameters(), lr=0.03)
        assert lesson.train(again, new, batch, 1) == straight[30]
        lesson.train(model, optimizer, batch, 1)
        small = (model[0].weight - before).abs().median()
        full = (again[0].weight - before).abs()
        assert small < 0.03 / 10  # less than a tenth of lr
        assert (full > 0.029).float().mean() > 0.5  # most weights: lr


def test_the_best_moves_on_unless_it_is_copied(saved, batch):
    for path, straight in zip(*saved, strict=True):
        wrong = float(lesson.wrong_best([path], batch).removeprefix("loss "))
        right = float(lesson.right_best([path], batch).removeprefix("loss "))
        assert right == pytest.approx(straight[30].item(), abs=0.006)
        assert wrong > 10 * right
        model, _, _ = lesson.resume(path)
        state, kept = model.state_dict(), path.with_name("best.pt")
        shallow = state.copy()
        torch.save(state, kept)  # at once
        model[0].bias.data.zero_()
        assert not shallow["0.bias"].any()  # .copy() is of the same tensors
        assert torch.load(kept, weights_only=True)["0.bias"].any()
        model, _, _ = lesson.resume(path)
        assert (
            model.state_dict()["0.bias"].data_ptr() == model[0].bias.data_ptr()
        )


def test_a_file_that_was_begun_is_lost_and_one_beside_it_is_not(saved):
    files, _ = saved
    size = files[3].stat().st_size
    with ctrl_c(), pytest.raises(RuntimeError, match="corrupted"):
        lesson.wrong_night(files)
    assert files[3].stat().st_size < size
    with ctrl_c():
        assert lesson.right_night(files) == "epoch 30"
    assert lesson.resume(files[4])[2] == 30
    assert lesson.right_night(files) == "epoch 31"  # and without Ctrl-C
    assert not list(files[4].parent.glob("*.part"))
    os.fsync(files[4].open("r+"))  # as the lesson says, to the letter
    assert lesson.wrong_night(files) == "epoch 31"


def test_a_gpu_that_is_not_here(tmp_path):
    gpu, kept = tmp_path / "gpu.pt", torch.tensor([1.0, 2.0])
    with patch("torch.serialization.location_tag", lambda _: "cuda:99"):
        torch.save(kept, gpu)
    said = "Attempting to deserialize object on"
    with pytest.raises(RuntimeError, match=said):
        lesson.wrong_laptop(gpu)
    assert lesson.right_laptop(gpu) == torch.device("cpu")
    advised = torch.device("cpu")  # what the error says
    loaded = torch.load(gpu, map_location=advised, weights_only=True)
    assert torch.equal(loaded, kept)


def test_shuffled_images_come_back_in_order_with_the_random_state(
    batch, tmp_path
):
    """What the lesson says of get_rng_state, and its exercise's second half."""

    def draws(model, optimizer, epochs):
        losses = []
        for _ in range(epochs):
            some = torch.randperm(500)[:100]
            part = [tensor[some] for tensor in batch]
            losses.append(lesson.train(model, optimizer, part, epochs=1))
        return torch.cat(losses)

    path = tmp_path / "last.pt"
    torch.manual_seed(0)
    model, optimizer = lesson.begin()
    draws(model, optimizer, 5)
    both = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    random = torch.get_rng_state()
    torch.save(both | {"epoch": 5, "random": random}, path)
    straight = draws(model, optimizer, 5)
    torch.manual_seed(1)
    model, optimizer, _ = lesson.resume(path)
    assert not torch.equal(draws(model, optimizer, 5), straight)
    model, optimizer, _ = lesson.resume(path)
    torch.set_rng_state(torch.load(path, weights_only=True)["random"])
    assert torch.equal(draws(model, optimizer, 5), straight)


def test_the_exercise_s_program_ends_the_same_however_often_it_stops(
    saved, batch, tmp_path
):
    path = tmp_path / "last.pt"

    def program(epochs):
        if path.exists():
            model, optimizer, epoch = lesson.resume(path)
        else:
            torch.manual_seed(0)
            (model, optimizer), epoch = lesson.begin(), 0
        losses = lesson.train(model, optimizer, batch, epochs)
        both = {"model": model, "optimizer": optimizer}
        states = {name: part.state_dict() for name, part in both.items()}
        torch.save(states | {"epoch": epoch + epochs}, path)
        return losses

    losses = [program(epochs) for epochs in (1, 20, 9, 30)]
    assert torch.equal(torch.cat(losses), saved[1][0])
    assert lesson.resume(path)[2] == 60


def test_command_prints_what_is_measured_and_draws_the_jump(
    run_cli, read_events, only_run, width, saved, batch, tmp_path
):
    result = run_cli("checkpoint-demo", "--logdir", tmp_path / "logs")
    assert result.exit_code == 0, result.output
    for line in (
        r"to\s+0\.9053\.\s+A\s+new\s+Adam's\s+is\s+0\.1,\s+to\s+1\.0",
        r"✓ adam_step = PyTorch's Adam: largest difference",
        r"✓ 30 resumed = never stopped: largest difference 0\n",
        r"loss\s+is\s+2\.3\d\s+at\s+first",
        "✗ " + re.escape(lesson.wrong_morning(saved[0], batch)),
        "✓ " + re.escape(lesson.right_morning(saved[0], batch)),
        "✗ " + re.escape(lesson.wrong_best(saved[0], batch)),
        "✓ " + re.escape(lesson.right_best(saved[0], batch)),
        r"✗ RuntimeError: PytorchStreamReader failed(.*\n)*✓ epoch 30\n",
        r"✗ RuntimeError: Attempting to deserialize(.*\n)*✓ cpu\n",
        r"Mistake 4 of 4",
        r"Next lesson: python cli.py",
    ):
        assert re.search(line, result.output), line
    size = int(re.search(r"The\s+file\s+has\s+(\d+)\s+kB", result.output)[1])
    assert 3 * 19 < size < 3 * 19 + 7
    assert width(result.output) <= 80
    events = read_events(only_run(tmp_path / "logs", "checkpoint-demo"))
    assert events.Tags()["images"] == ["a new Adam"]


def test_what_is_to_be_remembered_runs_as_it_stands(
    run_cli, tmp_path, monkeypatch
):
    output = run_cli("checkpoint-demo", "--logdir", tmp_path).output
    panel = output.partition(" Remember ")[2].partition("Exercise")[0]
    lines = re.findall(r"│ [• ] (.*?) *│", panel)
    assert len(lines) == 4
    monkeypatch.chdir(tmp_path)
    for learned in (True, False):  # in one program, and in the next one
        net = nn.Linear(2, 1)
        names = {"torch": torch, "net": net}
        names["opt"] = Adam(net.parameters(), lr=0.5)
        if learned:
            net(torch.ones(2)).sum().backward()
            names["opt"].step()
        exec("\n".join(lines if learned else lines[2:]), names)
        if learned:
            weight = net.weight.detach().clone()
    assert torch.equal(net.weight, weight)
    assert names["opt"].state[net.weight]["step"] == 1
    assert names["old"]["epoch"] == 9
    assert not Path("part").exists()


def test_another_seed_other_numbers(run_cli, tmp_path):
    outputs = [
        run_cli("checkpoint-demo", "--seed", seed, "--logdir", tmp_path).output
        for seed in (3, 3, 4)
    ]
    runs = [re.findall(SPREAD, output) for output in outputs]
    assert runs[0] == runs[1] != runs[2]
    assert all(len(run) == 2 for run in runs)


@pytest.mark.parametrize("words", [("--seed", -1), ("--seed", "two")])
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("checkpoint-demo", *words).exit_code == 2


def test_an_optimizer_of_no_memory_needs_no_loading():
    plain = SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    assert plain.state_dict()["state"] == {}
