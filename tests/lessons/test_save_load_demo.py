"""save-load-demo: its mistakes, and what it says (cases: test_exercises.py)."""

import re
from pickle import UnpicklingError

import pytest
import torch
from torch import nn

from lessons import save_load_demo as lesson
from shared.datasets.embedded import digits

PERCENT = r"(\d+)% \((\d+)% to (\d+)%\)"


@pytest.fixture(scope="module")
def sets():
    """The training set and the test set, as the lesson makes them."""
    return [(s.images.flatten(1) / 255, s.labels) for s in digits()]


@pytest.fixture(scope="module")
def files(sets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / f"net_{i}.pt" for i in range(5)]
    for seed, path in enumerate(paths):
        lesson.trained(path, seed, sets[0])
    return paths


def numbers(said):
    """Median, least and most, in percent."""
    return [int(number) for number in re.fullmatch(PERCENT, said).groups()]


def test_the_class_of_a_whole_model_is_missing_tomorrow(tmp_path):
    lost = lesson.wrong_tomorrow(tmp_path)
    assert lost.startswith("AttributeError: Can't get attribute 'Net' on")
    net = "class Net(torch.nn.Linear): ..."  # what the error asks for
    whole = "print(torch.load('net.pt', weights_only=False))"
    found = lesson.python(tmp_path, net, whole)
    assert found == "Net(in_features=2, out_features=1, bias=True)"
    renamed = lesson.python(tmp_path, net.replace("Net", "New"), whole)
    assert renamed.startswith("AttributeError: Can't get attribute 'Net' on")
    kept = lesson.right_tomorrow(tmp_path)
    assert kept == "weight bias"
    assert b"Net" not in (tmp_path / "net.pt").read_bytes()


def test_a_pickle_runs_code_unless_weights_only(tmp_path):
    assert lesson.wrong_gift(tmp_path) == "MARK is there: True"
    assert (tmp_path / "MARK").read_bytes() == b""
    assert lesson.right_gift(tmp_path) == "MARK is there: False"
    said = "(?s)Weights only load failed.*`weights_only` set to `False` will"
    for weights_only in ({}, {"weights_only": True}):  # True is the default
        with pytest.raises(UnpicklingError, match=said):
            torch.load(tmp_path / "gift.pt", **weights_only)
    assert [path.name for path in tmp_path.iterdir()] == ["gift.pt"]


def test_a_whole_model_is_refused_too(tmp_path):
    torch.save(nn.Linear(2, 1), tmp_path / "net.pt")
    with pytest.raises(UnpicklingError, match="Linear was not an allowed"):
        torch.load(tmp_path / "net.pt", weights_only=True)


def test_without_parentheses_the_method_is_saved_and_keeps_its_model(tmp_path):
    said = "(?s)weights_only` set to `False`.*getattr was not an allowed"
    method = lesson.wrong_evening(tmp_path)
    with pytest.raises(UnpicklingError, match=said):
        torch.load(tmp_path / "evening.pt", weights_only=True)
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like"):
        nn.Linear(2, 1).load_state_dict(method)
    assert str(nn.Linear(2, 1).load_state_dict(method())).startswith("<All")
    assert lesson.right_evening(tmp_path) == ["weight", "bias"]


def test_a_new_place_is_a_new_name_and_strict_false_leaves_it_random(
    files, sets
):
    said = r'(?s)Missing.*"4\.weight", "4\.bias".*Unexpected.*"3\.weight"'
    with pytest.raises(RuntimeError, match=said):
        lesson.wrong_monday(files)
    for seed in range(100, 105):  # not those that the files began with
        torch.manual_seed(seed)
        median, least, most = numbers(lesson.tempting_monday(files, sets[1]))
        assert 0 <= least <= median <= 20 and most <= 40
    matched = lesson.right_monday(files)
    assert str(matched) == "<All keys matched successfully>"


def test_a_second_relu_changes_no_number(files, sets):
    one, two = lesson.load(files[0]).eval(), lesson.digit_net(nn.ReLU()).eval()
    state = one.state_dict()
    for name in ("weight", "bias"):
        state[f"4.{name}"] = state.pop(f"3.{name}")
    two.load_state_dict(state)
    images, _ = sets[1]
    assert torch.equal(one(images), two(images))


def test_load_state_dict_returns_the_names_that_strict_false_skips(files):
    state = torch.load(files[0], weights_only=True)
    keys = lesson.digit_net(nn.ReLU()).load_state_dict(state, strict=False)
    assert keys.missing_keys == ["4.weight", "4.bias"]
    assert keys.unexpected_keys == ["3.weight", "3.bias"]


def test_without_eval_three_at_once_cost_a_fifth_and_all_at_once_nothing(
    files, sets
):
    _, _, most = numbers(lesson.wrong_three(files, sets[1]))
    median, least, _ = numbers(lesson.right_three(files, sets[1]))
    assert most < 80 < 90 < least
    nets = [lesson.load(path) for path in files]  # in train mode
    unnoticed = lesson.shares_read(nets, sets[1], at_once=297)
    assert ((100 * unnoticed - median).abs() < 4).all()
    assert abs(100 * unnoticed.median() - median) < 2
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        lesson.shares_read(nets, sets[1], at_once=1)


def test_copy_would_stretch_what_load_state_refuses():
    model, state = nn.Linear(2, 3), {"bias": torch.ones(1)}
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.load_state_dict(state, strict=False)
    with pytest.raises(AssertionError):
        lesson.load_state(model, state)
    assert model.state_dict()["bias"].copy_(state["bias"]).tolist() == [1] * 3
    assert model.bias.tolist() == [1] * 3  # no copy: it is the model's own


def test_a_state_dict_shares_its_numbers_with_the_model():
    model = nn.Linear(2, 1)
    weight = model.state_dict()["weight"]
    assert weight.data_ptr() == model.weight.data_ptr()


def test_a_state_dict_holds_no_mode():
    net = nn.BatchNorm1d(1)
    learning, in_use = net.state_dict(), net.eval().state_dict()
    assert learning == in_use and learning._metadata == in_use._metadata


def test_in_train_mode_the_variance_is_over_n_and_the_running_one_over_n_1():
    out = nn.BatchNorm1d(1)(torch.tensor([[3.0], [5]])).flatten()
    torch.testing.assert_close(out, torch.tensor([-1.0, 1]), atol=1e-5, rtol=0)


def test_in_eval_mode_use_changes_nothing():
    norm = nn.BatchNorm1d(1).eval()
    norm(torch.tensor([[3.0], [5]]))
    assert norm.running_mean.item() == 0 and norm.running_var.item() == 1
    assert norm.num_batches_tracked.item() == 0
    assert nn.BatchNorm1d(1).training and nn.Sequential().training


def test_the_exercise_has_an_answer(files, sets):
    state = torch.load(files[0], weights_only=True)
    for name, tensor in state.items():
        if tensor.dim() and name[0] in "01":
            state[name] = tensor.flip(0)
    state["3.weight"] = state["3.weight"].flip(1)
    turned = lesson.digit_net().eval()
    turned.load_state_dict(state)
    images, _ = sets[1]
    logits = lesson.load(files[0]).eval()(images)
    torch.testing.assert_close(turned(images), logits, atol=1e-4, rtol=1e-4)
    turned.load_state_dict({"0.weight": state["0.weight"].flip(0)}, False)
    assert (turned(images) - logits).abs().max() > 1  # it alone is not enough


def test_command_prints_what_is_measured_and_logs_the_curve(
    run_cli, read_events, only_run, width, files, sets, tmp_path
):
    result = run_cli("save-load-demo", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    for line in (
        r" running_mean +0 +0\.4 ",
        r" running_var +1 +1\.1 ",
        r" num_batches_tracked +0 +1 ",
        r"out come -1 and\s+1 ",
        r"✓ paper = PyTorch, two decimals: largest difference 0\n",
        r"✓ logits: new = trained: largest difference 0\n",
        r"✓ load_state = load_state_dict: largest difference 0\n",
        r"✗ AttributeError: Can't get attribute 'Net' on <module '__main__'",
        r"✗ MARK is there: True\n(.*\n)*✓ MARK is there: False",
        r'Missing key\(s\) in state_dict: "4.weight", "4.bias"',
        "✗ " + re.escape(lesson.wrong_three(files, sets[1])),
        "✓ " + re.escape(lesson.right_three(files, sets[1])),
        r"✗ <bound method Module\.state_dict of Linear",
        r"✓ \['weight', 'bias'\]",
        r"Mistake 5 of 5",
        r"Next lesson: python cli.py",
    ):
        assert re.search(line, result.output), line
    assert re.search(r"5,067\s+numbers", result.output)
    assert width(result.output) <= 80
    run = only_run(tmp_path, "save-load-demo")
    assert {f"net_{i}.pt" for i in range(5)} <= {p.name for p in run.iterdir()}
    curve = read_events(run).Scalars("digits read/images at once, no eval")
    assert [event.step for event in curve] == list(range(3, 30, 3))
    assert curve[0].value < 0.8 < 0.95 < curve[-1].value
    first, second, third = re.findall(r"│ • (.*?) *│", result.output)
    names = {}
    exec(f"{first}\n{second}".replace("a.pt", str(tmp_path / "a.pt")), names)
    keys = eval(third.replace("a.pt", str(tmp_path / "a.pt")), names)
    assert not keys.missing_keys and not names["net"].training


def test_another_seed_other_numbers(run_cli, monkeypatch, tmp_path):
    monkeypatch.setattr(lesson, "python", lambda *_: "no new process here")
    outputs = [
        run_cli("save-load-demo", "--seed", seed, "--logdir", tmp_path).output
        for seed in (3, 3, 4)
    ]
    runs = [re.findall(PERCENT, output) for output in outputs]
    assert runs[0] == runs[1] != runs[2]
    assert all(len(run) == 3 for run in runs)


@pytest.mark.parametrize("words", [("--seed", -1), ("--seed", "two")])
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("save-load-demo", *words).exit_code == 2
