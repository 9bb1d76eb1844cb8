"""module-demo: Module against nn.Module, its mistakes, and what it says."""

import inspect
import re
from copy import deepcopy
from io import BytesIO

import pytest
import torch
from PIL import Image
from torch import nn

from lessons import module_demo as lesson
from lessons.exercises import module_demo as exercise
from shared.hooks import grey_photo, walked
from shared.practice.cases import judge

WEIGHTS = torch.tensor([[0.299, 0.587, 0.114]])  # Pillow's, of its manual


@pytest.fixture(scope="module")
def screen(tmp_path_factory) -> str:
    """What the lesson prints, with its line breaks as spaces."""
    from typer.testing import CliRunner

    from cli import app

    logdir = str(tmp_path_factory.mktemp("logs"))
    words = ["module-demo", "--logdir", logdir]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("line", "mutant"),
    [
        ('yield f"{place}.{name}", parameter', "yield name, parameter"),
        ("yield from self._parameters.items()", "pass"),
        ("if isinstance(value, nn.Parameter):", "if torch.is_tensor(value):"),
        ("self._modules[name] = value", "pass"),
        ("super().__setattr__(name, value)  # keep", "pass  # keep"),
        ("hook(self, inputs, output)", "hook(self, inputs[0], output)"),
        ("hook(self, inputs, output)", "hook(self, output, inputs)"),
        ("for hook in self._hooks:", "for hook in self._hooks[:1]:"),
        ("for hook in self._hooks:", "for hook in reversed(self._hooks):"),
        ("self._hooks.append(hook)", "self._hooks[:] = [hook]"),
        ("= self.forward(*inputs)", "= self.forward(*inputs) + 0.001"),
        ("for name, parameter in", "for name, parameter in [] and"),
    ],
)
def test_the_cases_refuse_a_module_with_one_line_off(line, mutant):
    source = inspect.getsource(lesson.Module)
    assert line in source
    names = dict(vars(lesson))
    exec(source.replace(line, mutant), names)
    with pytest.raises((AssertionError, AttributeError)):
        judge(names["Module"], exercise.Module)


def test_the_cases_take_a_module_written_otherwise():
    """It keeps parameters and modules nowhere else, as nn.Module does."""

    class Module:
        def __init__(self):
            vars(self).update(kept={}, inside={}, hooks=[])

        def __setattr__(self, name, value):
            if isinstance(value, nn.Parameter):
                self.kept[name] = value
            elif isinstance(value, Module):
                self.inside[name] = value
            else:
                object.__setattr__(self, name, value)

        def __getattr__(self, name):
            for part in ("kept", "inside"):
                if name in vars(self).get(part, {}):
                    return vars(self)[part][name]
            raise AttributeError(name)

        def named_parameters(self, prefix=""):
            found = [(prefix + n, p) for n, p in self.kept.items()]
            for name, module in self.inside.items():
                found += module.named_parameters(f"{prefix}{name}.")
            return found

        def register_forward_hook(self, hook):
            self.hooks.append(hook)

        def __call__(self, *inputs):
            output = self.forward(*inputs)
            for hook in self.hooks:
                hook(self, inputs, output)
            return output

    assert judge(Module, exercise.Module) >= 3


def test_the_cases_take_pytorch_s_own_module():
    assert judge(nn.Module, exercise.Module) >= 3


def test_mistakes_fail_and_their_mends_work():
    with pytest.raises(AttributeError, match=r"before Module.__init__\(\)"):
        lesson.wrong_empty()
    with pytest.raises(NotImplementedError, match='required "forward"'):
        lesson.tempting_empty()
    assert lesson.right_empty() == 2
    assert lesson.wrong_pair() == []
    assert len(lesson.right_pair()) == 4
    assert isinstance(lesson.wrong_minus(), nn.ReLU)
    assert torch.equal(lesson.right_minus(), torch.tensor(0.0))


def changed(name, old, new):
    """The lesson's function of that name, with old replaced by new."""
    source = inspect.getsource(getattr(lesson, name))
    assert source.count(old) == 1
    exec(source.replace(old, new), names := dict(vars(lesson)))
    return names[name]


def test_super_as_the_first_line_mends_the_very_code_that_was_wrong():
    line = "            self.bias"
    init = "            super().__init__()\n"
    assert changed("wrong_empty", line, init + line)() == 1
    last = f"{line} = nn.Parameter(torch.tensor(1.0))\n"
    with pytest.raises(AttributeError):  # the last line is too late
        changed("wrong_empty", last, last + init)()


def test_the_indent_of_init_mends_the_very_forward_that_was_wrong():
    old = "            def forward(self: Any, x: Tensor) -> Tensor:\n    "
    new = "        def forward(self: Any, x: Tensor) -> Tensor:\n"
    assert changed("tempting_empty", old, new)() == 2


def test_layers_in_a_plain_list_compute_and_never_learn():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(2, 2), nn.Linear(2, 1)]

        def forward(self, x):
            return self.layers[1](self.layers[0](x))

    torch.manual_seed(0)
    net, x, wanted = Net(), torch.rand(5, 2), torch.rand(5, 1)
    before = deepcopy([layer.state_dict() for layer in net.layers])
    first = lesson.learn(net, x, wanted, 1)
    assert first == lesson.learn(net, x, wanted, 20)
    after = [layer.state_dict() for layer in net.layers]
    for one, other in zip(before, after, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_class_without_an_object_is_an_error_where_init_takes_nothing():
    kind = type(lesson.network(nn.Module).add)
    with pytest.raises(TypeError, match="takes 1 positional argument"):
        kind(torch.tensor(1.0))


def test_only_the_module_itself_is_passed_by_when_forward_is_called():
    for base in (lesson.Module, nn.Module):
        model = lesson.network(base)
        assert lesson.noted(model, model).tolist() == [2, 6]
        model = lesson.network(base)
        assert lesson.noted(model, model.forward).tolist() == [2]


def test_eval_and_train_reach_the_modules_inside_and_change_nothing_else():
    model = lesson.network(nn.Module)
    assert model.training
    assert model.add.training
    model.eval()
    assert not model.training
    assert not model.add.training
    assert model(torch.tensor(1.0)).requires_grad
    model.train()
    assert model.add.training


def test_a_buffer_moves_with_the_module_and_a_plain_tensor_does_not():
    model = nn.Linear(3, 1)
    model.register_buffer("mean", torch.zeros(3))
    model.plain = torch.zeros(3)
    model.to("meta")
    assert model.mean.is_meta
    assert model.weight.is_meta
    assert not model.plain.is_meta


def test_even_the_most_steps_leave_a_thousandth():
    torch.manual_seed(0)
    model = nn.Linear(3, 1, bias=False)
    lesson.learn(model, *grey_photo(), 9999)
    assert round((model.weight - WEIGHTS).abs().max().item(), 3) == 0.001


@pytest.mark.parametrize("seed", range(5))
def test_every_seed_learns_pillow_s_weights_and_moves_no_buffer(seed):
    """Measured: the weights are off by at most 0.0010, the greys by 0.53."""
    torch.manual_seed(seed)
    colours, wanted = grey_photo()
    model = nn.Linear(3, 1, bias=False)
    model.register_buffer("manual", WEIGHTS[0].clone())
    lesson.learn(model, colours, wanted, 5000)
    off = (model.weight - WEIGHTS).abs().max()
    assert 0.0005 < off < 0.0015
    off = 255 * (model(colours) - wanted).abs().max()
    assert 0.5 <= off < 0.55
    assert torch.equal(model.manual, WEIGHTS[0])


def test_rounding_alone_leaves_half_a_grey_and_a_thousandth_of_a_weight():
    colours, wanted = grey_photo()
    exact = (colours * WEIGHTS).sum(-1, keepdim=True)
    assert 0.49 < 255 * (exact - wanted).abs().max() < 0.51
    for target, low, high in ((wanted, 0.0005, 0.0015), (exact, 0, 1e-5)):
        pair = (part.reshape(-1, n) for part, n in ((colours, 3), (target, 1)))
        off = torch.linalg.lstsq(*pair).solution.T - WEIGHTS
        assert low <= off.abs().max() < high


def test_what_a_hook_returns_replaces_the_output_as_the_exercise_says():
    class Mine(lesson.Module):
        def __call__(self, *inputs):
            output = self.forward(*inputs)
            for hook in self._hooks:
                seen = hook(self, inputs, output)
                output = output if seen is None else seen
            return output

    for base in (Mine, nn.Module):
        model = lesson.network(base)
        model.add.register_forward_hook(lambda *seen: 10 * seen[2])
        assert model(torch.tensor(1.0)) == 60
    assert judge(Mine, exercise.Module) >= 3


def test_the_screen_shows_the_worked_case_and_is_80_wide(screen, width):
    for line in (
        "With x = 1, AddOne makes 1 + 1 = 2, Triple 3 * 2 = 6.0.",
        "These and 99 random cases = nn.Module's: largest difference 0",
        "✓ Module's notes = nn.Module's: largest difference 0",
        "0.299 0.586 0.115",
        "Mistake 3 of 3",
        "Next lesson: python cli.py conv-demo",
    ):
        assert line in screen
    assert width(screen) <= 80
    said = " ".join(screen.split())
    assert "Both bases find weight and add.bias, the bias in" in said
    assert "noted(model, model): [2.0, 6.0], AddOne" in said
    assert "too, but only [2.0] is noted: Triple's hook" in said
    assert "Our greys are up to 0.5 of 255 off." in said


def test_the_events_hold_the_pictures_and_the_weights(
    run_cli, read_events, only_run, tmp_path
):
    result = run_cli("module-demo", "--steps", 100, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    events = read_events(only_run(tmp_path, "module-demo"))
    assert sorted(events.Tags()["images"]) == ["grey", "photo", "pillow"]
    assert [e.step for e in events.Images("grey")] == [0, 1, 10, 100]
    first = Image.open(BytesIO(events.Images("grey")[0].encoded_image_string))
    assert first.convert("L").getextrema()[1] > 90  # it isn't black
    for colour in ("red", "green", "blue"):
        steps = [e.step for e in events.Scalars(f"weight/{colour}")]
        assert steps == [*range(0, 101, 10)]


def table(output: str) -> list[str]:
    return re.findall(
        r"^ \w+ +(?:weight|manual) +-?\d.*$", output, re.MULTILINE
    )


@pytest.mark.parametrize("words", [("--seed", 1), ("--steps", 3)])
def test_each_option_alone_changes_the_screen(run_cli, tmp_path, screen, words):
    result = run_cli("module-demo", *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    weight, buffer = table(result.output)
    assert weight != table(screen)[0]
    numbers = buffer.split()[2:]
    assert numbers[:3] == numbers[3:] == ["0.299", "0.587", "0.114"]


def test_the_lines_to_remember_run(screen, capsys):
    box = screen[screen.index("Remember") : screen.index("Exercise")]
    lines = re.findall(r"│ • (.*?) *│", box)
    exec("\n".join(lines), names := {})
    assert names["output"].shape == (5, 1)
    said = capsys.readouterr().out
    assert said == "weight torch.Size([1, 3])\nbias torch.Size([1])\n"


def test_the_gradients_on_paper_are_those_that_backward_leaves():
    for base in (lesson.Module, nn.Module):
        paper = torch.tensor([3.0, 1.0]), torch.tensor(1.0)
        assert walked(lesson.network(base), *paper).tolist() == [6, 2, 3]


@pytest.mark.parametrize(
    "words",
    [
        ("--steps", 0),
        ("--steps", 10_000),
        ("--steps", "many"),
        ("--seed", -1),
    ],
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("module-demo", *words).exit_code == 2


def test_a_log_folder_that_is_a_file_exits_1(run_cli, tmp_path):
    file = tmp_path / "file"
    file.touch()
    result = run_cli("module-demo", "--logdir", file)
    assert result.exit_code == 1
    assert "Can't write to" in result.output
