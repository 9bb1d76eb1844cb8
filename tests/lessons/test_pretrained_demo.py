"""pretrained-demo: heads, frozen layers, and weights that don't arrive."""

import hashlib
import re
import socket
import threading
import warnings
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import pytest
import torch
from torch import nn
from torchvision.models import (
    ResNet18_Weights,
    ResNet50_Weights,
    resnet18,
    vgg16,
)

from lessons import pretrained_demo as lesson
from shared.datasets import downloads
from shared.practice import ready_made, tuning

URL = ResNet18_Weights.DEFAULT.url


@pytest.fixture(scope="module")
def given():
    nets = tuning.pretrained_nets()
    return nets, tuning.new_task(40), tuning.unseen_digits()[0]


def percents(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"(\d+)%", text)]


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_the_worked_numbers_and_the_events(
    ran, width, read_events, only_run, drawn
):
    output, folder = ran
    said = one_line(output)
    for line in (
        "for 1,000 138,357,544 parameters, output (1, 1000)",
        "for ten 134,301,514 parameters, output (1, 10)",
        "4,056,030 less",
        "(341 - 224) / 2 = 58.5",
        "(0.50196 - 0.485) / 0.229 = 0.074",
        "all layers 62 11,181,642 44.727 MB 22.218 MB",
        "the head 2 5,130 0.021 MB 0.002 MB",
        "ResNet18's numbers are random: these names are chance.",
        "Mistake 3 of 3",
    ):
        assert line in said, line
    assert said.count("✓") == 6
    assert width(output) <= 80
    events = read_events(only_run(folder, "pretrained-demo"))
    assert sorted(drawn(events)) == ["adapted", "preprocess"]


def test_the_numbers_on_paper_are_right():
    vgg = ready_made.vgg_on_paper()
    first = sum(p.numel() for p in vgg.classifier[0].parameters())
    assert first == 25088 * 4096 + 4096 == 102_764_544
    assert 138_357_544 - 4_056_030 == 134_301_514
    assert 4096 * 1000 + 1000 - (4096 * 10 + 10) == 4_056_030
    assert 512 * 7 * 7 == vgg.classifier[0].in_features == 25088
    assert 11_689_512 - 512 * 1000 - 1000 + 5130 == 11_181_642
    assert round(100 * (1 - 134_301_514 / 138_357_544)) == 3
    assert 138_367_554 - 138_357_544 == 1000 * 10 + 10 == 10_010
    assert {p.device.type for p in vgg.parameters()} == {"meta"}


def test_on_the_model_itself_a_layer_is_never_called():
    assert lesson.wrong_seven() == "138,367,554 parameters, output (1, 1000)"
    assert lesson.right_seven() == "138,367,554 parameters, output (1, 10)"


def test_pretrained_true_is_a_warning_that_names_weights(monkeypatch):
    told = pytest.warns(UserWarning, match="use 'weights' instead")
    with told, torch.device("meta"):
        vgg16(pretrained=False)
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("error")
        vgg16(weights=None)
    assert ResNet50_Weights.DEFAULT != ResNet50_Weights.IMAGENET1K_V1


def test_without_preprocessing_all_five_read_less(given):
    nets, _, images = given
    wrong = percents(lesson.wrong_pixels(nets, images))
    right = percents(lesson.right_pixels(nets, images))
    assert max(wrong) < 92 and min(right) > 94


def test_frozen_layers_with_batch_norm_change_unless_in_eval_mode(given):
    before = deepcopy([net.state_dict() for net in given[0]])
    wrong = percents(lesson.wrong_paper(*given))
    right = percents(lesson.right_paper(*given))
    assert max(wrong) < 75 and min(right) > 94
    after = [net.state_dict() for net in given[0]]
    torch.testing.assert_close(before, after, rtol=0, atol=0)  # only copies


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_no_parameter_of_the_backbone_moves_but_its_statistics_do(given, mode):
    nets, yours, _ = given
    net = deepcopy(nets[0])
    lesson.freeze_but(net, lesson.replace_head(net, 2))
    net.train()
    if mode == "eval":
        net[:3].eval()
    before = deepcopy(net.state_dict())
    tuning.learn(net, 1 - yours[0], yours[1])
    after = net.state_dict()
    moved = [n for n in after if not torch.equal(before[n], after[n])]
    statistics = ["running_mean", "running_var", "num_batches_tracked"]
    buffers = [f"1.{n}" for n in statistics] if mode == "train" else []
    assert sorted(moved) == sorted([*buffers, "3.weight", "3.bias"])


def new_right(nets, yours, eval_mode):
    """The shares of unseen black on white digits told odd or even."""
    images, labels = tuning.unseen_digits()
    shares = []
    for seed, net in enumerate(deepcopy(nets)):
        torch.manual_seed(seed)
        new = net[:3].append(nn.Linear(64, 2)).train()
        lesson.freeze_but(new, "3")
        new[:3].train(not eval_mode)
        tuning.learn(new, 1 - yours[0], yours[1])
        with torch.no_grad():
            found = new.eval()(tuning.normalise(1 - images)).argmax(1)
        shares.append((found == labels % 2).float().mean())
    return torch.stack(shares)


def test_only_the_old_task_suffers_from_train_mode(given):
    many = tuning.new_task(320)
    in_train, in_eval = (new_right(given[0], many, m) for m in (False, True))
    assert in_train.median() > in_eval.median() + 0.02
    few = tuning.new_task(40)
    in_train, in_eval = (new_right(given[0], few, m) for m in (False, True))
    assert abs(in_train.median() - in_eval.median()) < 0.06


def test_what_is_said_of_train_mode_and_the_colour_of_paper(given):
    many = tuning.new_task(320)
    in_train, in_eval = (new_right(given[0], many, m) for m in (False, True))
    assert abs(in_train.median() - 0.90) < 0.03
    assert abs(in_eval.median() - 0.85) < 0.03
    nets, (images, labels), unseen = given
    same = 1 - images, labels  # wrong_paper turns it back: white on black
    right = percents(lesson.wrong_paper(nets, same, unseen))
    assert abs(right[0] - 96) <= 1 and min(right) > 93


def test_a_frozen_backbone_helps_a_near_task_and_not_a_far_one(given, capsys):
    right = tuning.measured(
        ["anew", "all layers", "head only"], given[0], lesson.adapt
    )
    anew, every, head = right.values()
    assert head[:, 0].min() > anew[:, 0].max()
    assert head[:, 0].median() > every[:, 0].median()
    assert head[:, 1].min() < anew[:, 1].max()
    assert head[:, 2].max() < anew[:, 2].min()
    said = one_line(capsys.readouterr().out)
    assert '"anew" are above all 5 "head only" at: 80 of 5 to 9.' in said


def test_the_old_heads_tell_odd_from_even_without_a_new_digit(given):
    assert min(percents(tuning.odd_by_digit(given[0]))) > 95
    images, labels = tuning.unseen_digits()
    with torch.no_grad():
        digits = given[0][0].eval()(tuning.normalise(images)).argmax(1)
    odd = torch.isin(digits, torch.arange(1, 10, 2))
    share = (odd == torch.isin(labels, torch.arange(1, 10, 2))).float().mean()
    assert share > (digits == labels).float().mean()
    assert percents(tuning.odd_by_digit(given[0][:1]))[0] == round(
        100 * share.item()
    )


def test_what_learns_is_what_the_lesson_counts():
    net = tuning.pretrained_nets()[0]
    lesson.adapt(one := deepcopy(net), 2, "head only")
    lesson.adapt(other := deepcopy(net), 2, "all layers")
    counts = [
        sum(p.numel() for p in n.parameters() if p.requires_grad)
        for n in (one, other)
    ]
    assert counts == [130, 130 + 64 * 64 + 64 + 2 * 64]
    assert not one[1].training and one[3].training and other[1].training


def test_another_picture_changes_the_screen(ran, run_cli, tmp_path):
    from PIL import Image

    Image.new("L", (40, 30), 200).save(tmp_path / "grey.png")
    words = "--image", tmp_path / "grey.png", "--logdir", tmp_path
    result = run_cli("pretrained-demo", *words)
    assert result.exit_code == 0, result.output

    def highest(text: str) -> str:
        return re.search("0.1% each.: .*?%[.] ", one_line(text)).group()

    assert highest(result.stdout) != highest(ran[0])


def test_the_lines_to_remember_run(ran, monkeypatch, tmp_path):
    lines = re.findall(r"│ [•  ] (.*?) *│", ran[0])[-5:]
    assert lines[0].startswith("import torch, torchvision")
    program = "\n".join(lines).replace('"DEFAULT"', "None")  # no network
    exec(program, names := {})
    net = names["net"]
    learn = [n for n, p in net.named_parameters() if p.requires_grad]
    assert learn == ["fc.weight", "fc.bias"] and not net.training
    assert names["prepare"].crop_size == [224]
    assert ResNet18_Weights["DEFAULT"] is ResNet18_Weights.IMAGENET1K_V1


def test_the_exercise_has_an_answer():
    net = resnet18(weights=None).requires_grad_(False).eval()
    net.fc = nn.Linear(512, 10)
    net.layer4.requires_grad_(True).train()
    learn = [p.numel() for p in net.parameters() if p.requires_grad]
    assert sum(learn) == 8_398_858
    net(torch.rand(2, 3, 64, 64))
    assert net.layer4[0].bn1.num_batches_tracked == 1
    assert net.bn1.num_batches_tracked == 0


# ---- Weights that come, and that don't ---------------------------------------
@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty place for weights, and no proxy but the test's."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr("urllib.request._opener", None)  # it keeps the proxies
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub" / "checkpoints"


@pytest.fixture
def port():
    """A port at which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_a_proxy_that_refuses_and_the_lesson_goes_on(
    run_cli, monkeypatch, hub, port, tmp_path
):
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
    words = "--weights", "imagenet", "--logdir", tmp_path
    result = run_cli("pretrained-demo", *words)
    assert result.exit_code == 0, result.output
    assert "Can't download weights" in result.stderr
    assert "refused" in result.stderr and len(result.stderr.splitlines()) == 1
    assert "random, for want of a download" in one_line(result.stdout)
    assert "Next lesson:" in result.stdout
    assert not hub.exists() or not list(hub.iterdir())


@pytest.mark.parametrize("where", ["proxy", "name"])
def test_what_never_answers_is_given_up(monkeypatch, hub, capsys, where):
    """A proxy that says nothing, and a name that is looked up for ever."""
    release = threading.Event()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("https_proxy", address)
        if where == "name":
            hang = lambda *args, **options: release.wait(30)  # noqa: E731
            monkeypatch.setattr(downloads, "urlopen", hang)
        assert downloads.download_weights(URL, timeout=0.3) is None
        release.set()
    assert "nothing came for 0.3 seconds" in capsys.readouterr().err
    assert not list(hub.iterdir())


def test_the_default_patience_leaves_time_for_the_imports():
    import inspect

    signature = inspect.signature(downloads.download_weights)
    assert signature.parameters["timeout"].default + 1 < 10


@pytest.fixture
def server():
    """serve(content) answers every question with it; returns its address."""
    servers = []

    def serve(content: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            asked = 0

            def do_GET(self):
                type(self).asked += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(
            target=found.serve_forever, args=(0.01,), daemon=True
        ).start()
        servers.append(found)
        return f"http://127.0.0.1:{found.server_port}"

    yield serve
    for found in servers:
        found.shutdown()
        found.server_close()


def test_weights_that_come_are_used_and_not_fetched_twice(
    monkeypatch, hub, server
):
    torch.manual_seed(7)
    state = resnet18(weights=None).state_dict()
    torch.save(state, file := BytesIO())
    begin = hashlib.sha256(file.getvalue()).hexdigest()[:8]
    address = f"{server(file.getvalue())}/resnet18-{begin}.pth"
    path = downloads.download_weights(address)
    assert path == hub / f"resnet18-{begin}.pth"
    assert [p.name for p in hub.iterdir()] == [path.name]

    class Stand:
        class DEFAULT:
            url = address

    monkeypatch.setattr(ready_made, "ResNet18_Weights", Stand)
    monkeypatch.setattr(downloads, "urlopen", None)  # none is asked any more
    model, said = ready_made.resnet("imagenet")
    assert f"are pretrained, from resnet18-{begin}.pth." in said
    assert torch.equal(model.fc.weight, state["fc.weight"])


def test_wrong_bytes_are_never_taken_for_weights(hub, server, capsys):
    address = f"{server(b'an error page')}/resnet18-f37072fd.pth"
    assert downloads.download_weights(address) is None
    assert "checksum" in capsys.readouterr().err
    assert not list(hub.iterdir())
    (hub / "resnet18-f37072fd.pth").write_bytes(b"cut short")
    assert downloads.download_weights(address) is None


def test_a_folder_that_cant_be_written(hub, capsys):
    hub.parent.mkdir(parents=True)
    hub.write_text("a file")
    assert downloads.download_weights(URL) is None
    assert "Can't keep weights in" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [("--weights", "best"), ("--weights",), ("--image",)]
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("pretrained-demo", *words).exit_code == 2


def test_a_picture_that_is_none_exits_1(run_cli, tmp_path):
    path = tmp_path / "picture.png"
    result = run_cli("pretrained-demo", "--image", path)
    assert result.exit_code == 1 and "There is no picture" in result.stderr
    path.write_text("not a picture")
    result = run_cli("pretrained-demo", "--image", path)
    assert result.exit_code == 1 and "not a picture" in result.stderr


@pytest.mark.parametrize(
    "model", [nn.Linear(2, 3), nn.Sequential(nn.Conv2d(3, 10, 1))]
)
def test_without_a_linear_layer_in_it_there_is_no_head_to_replace(model):
    with pytest.raises(AssertionError, match="no linear layer in this model"):
        lesson.replace_head(model, 4)
