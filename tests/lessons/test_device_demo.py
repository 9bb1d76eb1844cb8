"""device-demo: on the CPU, on what stands in for a GPU, and on a GPU."""

import re
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from typer.testing import CliRunner

from cli import app
from lessons import device_demo as lesson

CPU, META = torch.device("cpu"), torch.device("meta")
STAND_IN = torch.device("cpu:0")  # is the CPU, and isn't equal to CPU
HAS_CUDA = torch.cuda.is_available()


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The command, run once on the CPU: its output and its folder of logs."""
    folder = tmp_path_factory.mktemp("logs")
    words = ["device-demo", "--device", "cpu", "--logdir", str(folder)]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output, folder


@pytest.fixture
def fake_device(monkeypatch):
    """A device where an order takes 1 s and the work behind it 5 s."""
    at = SimpleNamespace(now=0.0, queue=0.0)

    def order():
        at.now, at.queue = at.now + 1, at.queue + 5

    def wait():
        at.now, at.queue = at.now + at.queue, 0.0

    clock = SimpleNamespace(perf_counter=lambda: at.now)
    monkeypatch.setattr(lesson, "time", clock)
    return SimpleNamespace(order=order, wait=wait)


def test_a_clock_that_waits_sees_the_work_and_one_that_does_not_the_order(
    fake_device,
):
    waiting = lesson.stopwatch(fake_device.order, fake_device.wait, 4)
    assert waiting == [6.0] * 4
    hasty = lesson.stopwatch(fake_device.order, lambda: None, 4)
    assert hasty == [1.0] * 4


def test_what_was_ordered_before_is_not_counted(fake_device):
    fake_device.order()
    assert lesson.stopwatch(fake_device.order, fake_device.wait, 1) == [6.0]


def test_each_device_is_synchronised_by_its_own_function(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "synchronize", calls.append)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: calls.append("mps"))
    for name in ("cpu", "cuda:1", "mps", "cuda"):
        lesson.synchronise(torch.device(name))
    assert calls == [torch.device("cuda:1"), "mps", torch.device("cuda")]


def test_inputs_without_an_assignment_stay_on_the_cpu():
    with pytest.raises(RuntimeError, match="meta is not on the expected"):
        lesson.wrong_inputs(META)
    assert lesson.right_inputs(META) == META


def test_momentum_stays_behind():
    assert lesson.wrong_early(META) == CPU
    assert lesson.right_early(META) == META


def test_on_meta_the_old_weights_move_again():
    model = nn.Linear(3, 2)
    old = model.weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    before = old.detach().clone()
    model.to(META)(torch.ones(4, 3, device=META)).sum().backward()
    optimizer.step()
    assert model.weight is not old and (old < before).all()


def test_a_state_that_is_loaded_comes_to_where_the_parameters_are():
    first, second = nn.Linear(3, 2), nn.Linear(3, 2).double()
    saved = torch.optim.SGD(first.parameters(), lr=0.1, momentum=0.9)
    first(torch.ones(4, 3)).sum().backward()
    saved.step()
    new = torch.optim.SGD(second.parameters(), lr=0.1, momentum=0.9)
    new.load_state_dict(saved.state_dict())
    (kept, _) = new.state.values()
    assert kept["momentum_buffer"].dtype == torch.float64


def test_a_total_in_bfloat16_stands_still():
    wrong, right = lesson.wrong_total(), lesson.right_total()
    assert wrong.item() == 128 and wrong.dtype == torch.bfloat16
    assert right.item() == 500 and right.dtype == torch.float32
    near = torch.tensor([128.4, 128.5, 128.6, 129.5]).bfloat16()
    assert near.tolist() == [128, 128, 129, 130]


def test_what_is_said_of_bfloat16():
    assert torch.tensor(1.01).bfloat16().item() == 1.0078125 == 129 / 128
    one = torch.tensor(1.0).bfloat16()
    assert (one + 0.003).item() == 1
    limits = [torch.finfo(t) for t in (torch.bfloat16, torch.float32)]
    assert limits[0].tiny == limits[1].tiny  # float32's range
    assert limits[0].max / limits[1].max > 0.99


def test_the_exercise_has_the_answer_257(run_cli, tmp_path):
    whole = torch.arange(1, 1000).float()
    lost = whole[lesson.to_bfloat16(whole) != whole]
    assert lost[0] == 257
    words = ("--number", 257, "--size", 8, "--device", "cpu")
    result = run_cli("device-demo", *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert (
        "257 = m * 2**9, m = 0.5019531. 256 * m = 128.5, rounded 128." in said
    )
    assert "128 * 2**1 = 256." in said


@pytest.mark.parametrize("number", [1e-30, 1e30, 3.14159, 255.9])
def test_any_number_agrees(number, capsys):
    figure = lesson.show_bfloat16(number)
    kept = torch.tensor(number).bfloat16().item()
    assert f"= {kept:.9g}." in " ".join(capsys.readouterr().out.split())
    assert len(figure.axes[0].lines) == 2


def test_a_loss_holds_a_tensor_only_with_weights():
    assert not nn.CrossEntropyLoss().state_dict()
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))
    logits, labels = torch.ones(4, 2).to(META), torch.zeros(4).long().to(META)
    with pytest.raises(RuntimeError, match="not on the expected device"):
        loss(logits, labels)
    assert loss.to(META)(logits, labels).device == META


def test_only_plain_dictionaries_lists_and_tuples_move_as_they_were():
    pair = namedtuple("pair", "images labels")(torch.ones(2), torch.ones(2))
    with pytest.raises(TypeError):  # loud, and the docstring says "plain"
        lesson.move(pair, META)
    assert not DataLoader([1]).pin_memory  # it has to be asked for


@pytest.mark.parametrize("mixed", [False, True])
def test_autocast_changes_the_dtype_of_logits_only(mixed):
    batch = {"images": torch.rand(3, 4), "labels": torch.tensor([0, 1, 1])}
    net, loss = nn.Linear(4, 2), nn.CrossEntropyLoss()
    logits, value, gradient = lesson.passes(net, loss, batch, mixed)
    assert logits.dtype == (torch.bfloat16 if mixed else torch.float32)
    assert value.dtype == gradient.dtype == net.weight.dtype == torch.float32


def test_command_on_the_cpu(ran, width, read_events, only_run, drawn):
    output, folder = ran
    said = " ".join(output.split())
    for line in (
        "This lesson computes on cpu, and moves things to meta.",
        "inputs = inputs.cuda() inputs = inputs.to(device) 1 a new tensor",
        "model.cuda() model.to(device) 2 itself",
        "loss.cuda() loss.to(device) 0 itself",
        "1.01 = m * 2**1, m = 0.505. 256 * m = 129.28, rounded 129. "
        "129 * 2**-7 = 1.0078125.",
        "✓ this and 1,000 more = bfloat16: largest difference 0",
        "The CPU used one of its cores.",
        "at n = 8 the call costs more than the work.",
        "DataLoader(..., pin_memory=True) pins each batch.",
        "How much faster a GPU is, only a machine with one can say.",
        "Not measured, as cpu is no CUDA device",
        "Mistake 3 of 3",
    ):
        assert line in said
    assert re.search(r"n +cpu +cpu, no wait +cpu bfloat16 *\n", output)
    assert re.search(r"cpu, autocast .*bfloat16 +float32 +float32", output)
    assert re.search(r"cpu bfloat16: faster at n[\d, =o n]+, slower", said)
    assert width(output) <= 80
    events = read_events(only_run(folder, "device-demo"))
    assert sorted(drawn(events)) == ["bfloat16", "sizes"]


@pytest.mark.skipif(HAS_CUDA, reason="a GPU answers otherwise")
def test_without_cuda_its_error_is_shown(ran):
    said = " ".join(ran[0].split())
    assert re.search(r"cuda\(\) here: (Runtime|Assertion)Error: ", said)
    assert "cuda:0 not here the first NVIDIA GPU" in said


def test_what_runs_beside_a_gpu_runs_on_a_stand_in(
    run_cli, monkeypatch, tmp_path, width
):
    """cpu:0 takes every way that a GPU takes, but for CUDA's own functions."""
    monkeypatch.setattr(lesson, "pick_device", lambda name: STAND_IN)
    threads = torch.get_num_threads()
    result = run_cli("device-demo", "--size", 64, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "This lesson computes on cpu:0, and moves things to cpu:0." in said
    assert width(result.output) <= 80
    assert "✓ cpu:0 = cpu, at n = 64: largest difference" in said
    assert re.search(r"At n = 64 that one says [\d.]+ ms, and the work", said)
    assert "with copies: faster at n" in said
    assert re.search("cpu:0, autocast: (faster|slower|about as fast)", said)
    assert torch.get_num_threads() == threads


def test_the_lines_to_remember_run(ran):
    lines = re.findall(r"│ • (.*?) *│", ran[0])
    assert len(lines) == 3
    exec("\n".join(lines), names := {"torch": torch})
    assert names["net"](names["x"]).device.type == names["device"].type


@pytest.mark.parametrize("size", [8, 100])
def test_another_size_changes_the_table_and_the_figure(size, capsys):
    figure = lesson.show_sizes(CPU, size)
    rows = re.findall(r"^ +(\d+) +\d+\.\d{3} ", capsys.readouterr().out, re.M)
    assert rows == {8: ["8"], 100: ["8", "64", "100"]}[size]
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [
        len(rows)
    ] * 3


@pytest.mark.parametrize(
    "words",
    [
        ("--size", 7),
        ("--size", 9000),
        ("--number", 0),
        ("--number", "nan"),
        ("--number", "inf"),
        ("--device", "tpu"),
    ],
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("device-demo", *words).exit_code == 2


@pytest.mark.parametrize("name", ["cuda:99", "mps"])
def test_a_device_that_is_not_here_exits_1(run_cli, tmp_path, name):
    if name == "mps" and torch.backends.mps.is_available():
        pytest.skip("it is here")
    result = run_cli("device-demo", "--device", name, "--logdir", tmp_path)
    assert result.exit_code == 1 and f"--device {name}: " in result.stderr


def test_a_logdir_that_is_a_file_exits_1(run_cli, tmp_path):
    file = Path(tmp_path, "file")
    file.touch()
    words = ("--size", 8, "--device", "cpu", "--logdir", file)
    result = run_cli("device-demo", *words)
    assert result.exit_code == 1 and "Can't write to" in result.stderr


@pytest.mark.gpu
def test_on_a_gpu_the_whole_lesson(run_cli, tmp_path, width):
    words = ("--device", "cuda", "--logdir", tmp_path)
    result = run_cli("device-demo", *words)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "moves things to cuda" in said
    assert "the tensor is on cuda:0." in said
    assert "✓ cuda = cpu, at n = 64" in said
    assert "pinned, non_blocking, not waited for" in said
    assert "cuda, autocast" in said
    assert "Expected all tensors to be on the same device" in said
    assert said.count("✗ RuntimeError") == 2  # inputs, and momentum
    assert width(result.output) <= 80


@pytest.mark.gpu
def test_on_a_gpu_both_halves_of_each_mistake():
    cuda = torch.device("cuda")
    with pytest.raises(RuntimeError, match="on the same device"):
        lesson.wrong_inputs(cuda)
    with pytest.raises(RuntimeError, match="same device"):
        lesson.wrong_early(cuda)
    assert lesson.right_inputs(cuda).type == "cuda"
    assert lesson.right_early(cuda).type == "cuda"


@pytest.mark.gpu
def test_on_a_gpu_a_clock_that_waits_sees_more():
    """Not a time: the order of a long product comes before its end."""
    square = torch.rand(4096, 4096, device="cuda")
    done = torch.cuda.Event()
    square @ square  # warm-up
    torch.cuda.synchronize()
    for _ in range(20):
        square @ square
    done.record()
    assert not done.query()
    lesson.synchronise(torch.device("cuda"))
    assert done.query()
