"""module-demo: Module against nn.Module, its mistakes, and what it says."""

import inspect
import re
from copy import deepcopy

import pytest
import torch
from torch import nn

from lessons import module_demo as lesson
from lessons.exercises import module_demo as exercise
from shared.hooks import grey_photo, noted
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
        ("super().__setattr__(name, value)  # what", "pass  # what"),
        ("hook(self, inputs, output)", "hook(self, inputs[0], output)"),
        ("hook(self, inputs, output)", "hook(self, output, inputs)"),
        ("for hook in self._hooks:", "for hook in self._hooks[:1]:"),
        ("for hook in self._hooks:", "for hook in reversed(self._hooks):"),
        ("self._hooks.append(hook)", "self._hooks[:] = [hook]"),
        ("= self.forward(*inputs)", "= self.forward(*inputs) + 0.001"),
        ("for _, parameter in", "for _, parameter in [] and"),
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

        def parameters(self):
            return [parameter for _, parameter in self.named_parameters()]

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
    assert [*lesson.right_empty().parameters()] == [torch.tensor(1.0)]
    assert lesson.wrong_pair() == 0
    assert lesson.right_pair() == 4
    with pytest.raises(
        NotImplementedError, match='missing the required "forward"'
    ):
        lesson.wrong_one()
    assert lesson.right_one() == torch.tensor(2.0)
    assert isinstance(lesson.wrong_minus(), nn.ReLU)
    assert torch.equal(lesson.right_minus(), torch.tensor(0.0))


def test_the_mends_mend_the_very_code_that_was_wrong():
    source = inspect.getsource(lesson.wrong_empty)
    line = "            self.bias"
    init = f"            super().__init__()\n{line}"
    exec(source.replace(line, init, 1), names := dict(vars(lesson)))
    assert [*names["wrong_empty"]().parameters()] == [torch.tensor(1.0)]
    source = inspect.getsource(lesson.wrong_one)
    head, inner = source.split("\n            def forward")
    forward, end = ("        def forward" + inner).split("\n\n    return")
    forward = forward.replace("    " * 4, "    " * 3)
    exec(f"{head}\n{forward}\n\n    return{end}", names)
    assert names["wrong_one"]() == torch.tensor(2.0)


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
        assert noted(lesson.network(base), "__call__") == [2, 6]
        assert noted(lesson.network(base), "forward") == [2]


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


@pytest.mark.parametrize("seed", range(5))
def test_every_seed_learns_pillow_s_weights_and_moves_no_buffer(seed):
    """Measured: the weights are off by at most 0.0012, the greys by 0.53."""
    torch.manual_seed(seed)
    colours, wanted = grey_photo()
    model, mean = nn.Linear(3, 1), colours.mean((0, 1))
    model.register_buffer("mean", mean.clone())
    lesson.learn(model, colours - mean, wanted, 5000)
    off = (model.weight - WEIGHTS).abs().max()
    assert off < 0.002
    off = 255 * (model(colours - mean) - wanted).abs().max()
    assert 0.5 <= off < 0.55
    assert torch.equal(model.mean, mean)


def test_what_a_hook_returns_replaces_the_output_as_the_exercise_says():
    def tenfold(module, inputs, output):
        return 10 * output

    source = inspect.getsource(lesson.Module)
    line = "            hook(self, inputs, output)"
    solved = "            seen = hook(self, inputs, output)\n"
    solved += "            output = output if seen is None else seen"
    exec(source.replace(line, solved), names := dict(vars(lesson)))
    for base in (names["Module"], nn.Module):
        model = lesson.network(base)
        model.add.register_forward_hook(tenfold)
        assert model(torch.tensor(1.0)) == 60
    assert judge(names["Module"], exercise.Module) >= 3


def test_the_screen_shows_the_worked_case_and_is_80_wide(screen, width):
    for line in (
        "With x = 1, AddOne makes 1 + 1 = 2, and Triple 3 * 2 = 6.",
        "nn.Module weight and add.bias.",
        "100 random ones, too: largest difference 0",
        "model(x) leaves [2, 6]",
        "leaves [2]: Triple's hook",
        "✓ Module's notes = nn.Module's: largest difference 0",
        "0.299 0.587 0.115",
        "Mistake 4 of 4",
        "Next lesson: python cli.py conv-demo",
    ):
        assert line in screen
    assert width(screen) <= 80
    said = " ".join(screen.split())
    assert "grey, which is rounded, is 0.5 of 255." in said


def test_the_events_hold_the_pictures_and_the_weights(
    run_cli, read_events, only_run, tmp_path
):
    result = run_cli("module-demo", "--steps", 100, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    events = read_events(only_run(tmp_path, "module-demo"))
    assert events.Tags()["images"] == ["grey"]
    assert [e.step for e in events.Images("grey")] == [0, 1, 10, 100]
    for colour in ("red", "green", "blue"):
        steps = [e.step for e in events.Scalars(f"weight/{colour}")]
        assert steps == [*range(0, 101, 10)]


def table(output: str) -> list[str]:
    return re.findall(
        r"^ \w+ +(?:weight|bias|mean) +-?\d.*$", output, re.MULTILINE
    )


@pytest.mark.parametrize("words", [("--seed", 1), ("--steps", 3)])
def test_each_option_alone_changes_the_screen(run_cli, tmp_path, screen, words):
    result = run_cli("module-demo", *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    weight, _, buffer = table(result.output)
    assert weight != table(screen)[0]
    numbers = buffer.split()[2:]
    assert numbers[:3] == numbers[3:] == ["0.215", "0.288", "0.224"]


def test_the_lines_to_remember_run(screen, capsys):
    box = screen[screen.index("Remember") : screen.index("Exercise")]
    lines = re.findall(r"│ • (.*?) *│", box)
    exec("\n".join(lines), names := {})
    assert names["output"].shape == (5, 1)
    said = capsys.readouterr().out
    assert said == "weight torch.Size([1, 3])\nbias torch.Size([1])\n"


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
