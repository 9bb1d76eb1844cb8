"""serve: a real server, asked by programs, good and hostile ones."""

import json
import re
import signal
import socket
import threading
import time
import urllib.request
from io import BytesIO
from pathlib import Path

import pytest
import torch
from flask import request
from PIL import Image
from typer.testing import CliRunner
from werkzeug.exceptions import InternalServerError

from cli import app
from lessons import serve as lesson
from shared.datasets.as_files import png
from shared.datasets.embedded import digits, photo_digits
from shared.models import CifarNet, flower_net, normalized
from shared.serving import server as serving
from shared.training.checkpoint import save_checkpoint
from shared.training.served import open_served
from tests.served import (
    form,
    hostile_requests,
    is_cut,
    picture,
    post,
    send,
    served,
    slow_senders,
)


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    """A logdir with a short run of train-cifar."""
    logdir = tmp_path_factory.mktemp("logs")
    words = "train-cifar --data photo-digits --epochs 2 --batch-size 32 "
    words += f"--limit 4000 --device cpu --logdir {logdir}"
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 0, result.output
    return logdir


@pytest.fixture(scope="module")
def best(logs) -> Path:
    (path,) = logs.glob("train-cifar/*/best.pt")
    return path


@pytest.fixture(scope="module")
def server(best):
    with served(best, "--device", "cpu") as running:
        yield running


@pytest.fixture(scope="module")
def seven() -> bytes:
    return png(photo_digits()[1].images[7])


def refused(result) -> str:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    problem, advice = result.stderr.strip().splitlines()[-2:]
    assert problem.startswith("Error: ")
    assert advice.startswith("Next: ")
    return problem + advice


# ---- the lesson --------------------------------------------------------------
def test_explain_walks_through_it(run_cli, logs, width, read_events, only_run):
    result = run_cli("serve", "--explain", "--logdir", logs)
    assert result.exit_code == 0, result.output
    assert width(result.output) <= 80
    said = " ".join(result.output.split())
    for words in (
        "✓ /predict = the model, asked alone: largest difference",
        "Was the file made? False.",
        "Over 25 million pixels: shrink it.",
        "64,000,000 pixels: refused",
        "As yet: status 404 for ten digits.",
        "10 of 10 answered as the upright picture is",
        "Mistake 3 of 3",
        "This was the last lesson.",
    ):
        assert words in said, words
    events = read_events(only_run(logs, "serve"))
    curve = events.Scalars("milliseconds/a_picture")
    assert [point.step for point in curve] == [1, 4, 16, 64]
    assert all(point.value > 0 for point in curve)


def test_in_training_mode_one_picture_gets_two_answers():
    torch.manual_seed(0)
    net = lesson.uploads.for_mistakes()["net"]
    image = torch.ones(3, 2, 2)
    one, other = lesson.wrong_twice(net, image).split(", then ")
    assert one != other
    one, other = lesson.right_twice(net, image).split(", then ")
    assert one == other


def test_the_small_file_is_64_million_pixels():
    file = lesson.uploads.black(8000)
    assert len(file) < 10_000
    wrong = lesson.wrong_small(file)
    assert wrong == f"{len(file):,} bytes became 192,000,000"
    assert lesson.right_small(file) == "64,000,000 pixels: refused"


def test_a_phone_s_pictures_are_turned(best):
    loaded = open_served(best, best, "cpu")
    digits = lesson.uploads.ten_digits()
    photos = [lesson.uploads.by_phone(image) for image in digits]
    wrong = lesson.wrong_phone(photos, loaded)
    assert int(wrong.split()[0]) <= 6, wrong
    assert lesson.right_phone(photos, loaded).startswith("10 of 10")
    for image in digits:
        file = lesson.uploads.by_phone(image).fp
        assert torch.equal(lesson.read_picture(file, (3, 32, 32)), image)


@pytest.mark.parametrize("way", ["batch", "one by one", "wrong", "500"])
def test_the_exercise_says_how_far_it_is_solved(best, capsys, way):
    loaded = open_served(best, best, "cpu")
    app_ = lesson.create_app(loaded)

    @app_.post("/predict-many")
    def many() -> dict:
        files = request.files.getlist("image")
        if way == "one by one":
            found = [lesson.answer(loaded, file.stream) for file in files]
            return {"answers": found}
        images = [lesson.read_picture(f.stream, loaded.shape) for f in files]
        with torch.inference_mode():
            rows = loaded.model(torch.stack(images)).softmax(1)
        rows = rows.flip(0) if way == "wrong" else rows
        ordered = [row.sort(descending=True) for row in rows]
        if way == "500":
            raise InternalServerError
        return {
            "answers": [
                {
                    "classes": [loaded.classes[label] for label in labels],
                    "probabilities": shares.tolist(),
                }
                for shares, labels in ordered
            ]
        }

    lesson.uploads.exercise(app_.test_client(), loaded.model)
    said = " ".join(capsys.readouterr().out.split())
    ends = {
        "batch": "As yet: solved!",
        "one by one": "the model was asked 10 times.",
        "wrong": "picture 0 is answered otherwise by /predict.",
        "500": "status 500 for ten digits.",
    }
    assert said.endswith(ends[way]), said


# ---- the same answer everywhere ----------------------------------------------
def test_validate_the_api_and_the_raw_body_give_the_same_probabilities(
    server, best, tmp_path, run_cli, seven
):
    photo = BytesIO()
    Image.effect_noise((500, 300), 90).convert("RGB").save(photo, "jpeg")
    for number, file in enumerate((seven, photo.getvalue(), picture("TIFF"))):
        path = tmp_path / f"{number}.png"
        path.write_bytes(file)
        words = ["--checkpoint", best, "--image", path, "--json"]
        said = json.loads(run_cli("validate", *words).stdout)
        theirs = [found["confidence"] for found in said["images"][0]["top3"]]
        for sent in (form(file), post(file, "application/octet-stream")):
            reply = send(server.port, sent)
            found = json.loads(reply.text)
            assert reply.status == 200
            assert len(found["classes"]) == 10
            assert sum(found["probabilities"]) == pytest.approx(1)
            assert found["probabilities"][:3] == pytest.approx(theirs, abs=1e-6)
            names = [one["class"] for one in said["images"][0]["top3"]]
            assert found["classes"][:3] == names
            assert found["model"].endswith("best.pt")
            assert found["milliseconds"] > 0


def test_health_and_the_page(server):
    with urllib.request.urlopen(f"{server.address}healthz") as answer:
        assert json.load(answer)["status"] == "ok"
    with urllib.request.urlopen(server.address) as answer:
        text = answer.read().decode()
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "photo-digits" in text
    assert not re.findall(r"https?://(?!127\.0\.0\.1)", text)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(b"Hello"), 400),
        (post(b""), 400),
        (form(b"Hello"), 400),
        (form(b"x", field="other"), 400),
        (post(b"Hello", "text/plain"), 415),
        (post(b"Hello", "application/x-www-form-urlencoded"), 415),
        (post(bytes(11 << 20)), 413),
        (form(bytes(11 << 20)), 413),
        (b"GET /predict HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET /../lessons/serve.py HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /static/../page.html HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (post(b"x", Transfer_Encoding="gzip"), 400),
    ],
)
def test_what_is_wrong_is_json_with_a_sentence(server, request_, status):
    reply = send(server.port, request_)
    assert reply.status == status
    assert json.loads(reply.text)["error"].endswith(".")


# ---- hostile clients ---------------------------------------------------------
def test_hostile_requests_do_no_harm(server, seven):
    send(server.port, post(seven))
    requests = hostile_requests(seed=0)
    with slow_senders(server.port, 20) as slow:
        for _ in range(60):
            kind, request, hang_up = next(requests)
            reply = send(server.port, request, hang_up)
            assert reply.status is None or reply.status < 500, kind
            assert "Traceback" not in reply.text, kind
            assert "<script" not in reply.text, kind
        assert send(server.port, post(seven)).status == 200
        until = time.monotonic() + serving.SENDING + 10
        while not all(map(is_cut, slow)) and time.monotonic() < until:
            time.sleep(0.5)
        assert all(map(is_cut, slow))
    assert send(server.port, post(seven)).status == 200


def test_a_line_of_millions_of_pixels_is_refused_before_decoding(server):
    for size in ((24_000_000, 1), (1, 24_000_000)):
        file = BytesIO()
        Image.new("1", size).save(file, "png")
        reply = send(server.port, post(file.getvalue()))
        assert (reply.status, reply.seconds < 2) == (413, True)
        assert "20,000 pixels" in reply.text


@pytest.mark.parametrize(
    "name", ["evil.example", "127.0.0.1.evil.example", "[", "0.0.0.0"]
)
def test_at_loopback_no_other_name_is_answered_to(server, seven, name):
    """A page can let its own name point to 127.0.0.1, and read answers."""
    for path in ("/", "/healthz"):
        head = f"GET {path} HTTP/1.1\r\nHost: {name}:{server.port}\r\n\r\n"
        reply = send(server.port, head.encode())
        assert reply.status == 400
        assert json.loads(reply.text)["error"].endswith(".")
    assert send(server.port, post(seven, Host=name)).status == 400
    for own in ("localhost", "127.0.0.1:1", "127.0.0.2", "[::1]:8000"):
        assert send(server.port, post(seven, Host=own)).status == 200


# ---- beginning and end -------------------------------------------------------
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_what_is_in_flight_is_answered(best, seven, stop):
    replies = []
    with served(best, "--device", "cpu") as running:
        threads = [
            threading.Thread(
                target=lambda: replies.append(send(running.port, post(seven)))
            )
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        running.process.send_signal(stop)
        said, errors = running.process.communicate(timeout=20)
        for thread in threads:
            thread.join()
        assert running.process.returncode == 128 + stop
    assert errors == ""
    assert f"Stopped by {stop.name}" in said
    assert [reply.status for reply in replies] == [200] * 20


def test_half_a_request_does_not_hold_up_the_end(best, seven):
    with served(best, "--device", "cpu") as running, socket.socket() as line:
        line.connect(("127.0.0.1", running.port))
        line.sendall(post(seven)[:-20])
        send(running.port, post(seven))
        running.process.send_signal(signal.SIGTERM)
        said, _ = running.process.communicate(timeout=20)
    assert "Stopped by SIGTERM. Not answered in time: 1." in said


def test_the_connections_fit_into_the_files_a_process_may_open(monkeypatch):
    resource = pytest.importorskip("resource")
    for files, most in ((256, 98), (1024, 300), (-1, 300)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, n=files: (n, n))
        assert serving._most_connections() == most


def test_a_port_in_use_names_another(run_cli, best):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ["--checkpoint", best, "--port", port]
        said = refused(run_cli("serve", *words))
    assert f"Port {port} of 127.0.0.1 is in use." in said
    assert "--port" in said


@pytest.mark.parametrize(
    ("host", "problem"),
    [("no.such.host.example", "no host"), ("192.0.2.1", "Can't listen")],
)
def test_a_host_that_is_not_here_is_one_sentence(run_cli, best, host, problem):
    said = refused(run_cli("serve", "--checkpoint", best, "--host", host))
    assert problem in said


def test_another_host_says_what_that_means(best):
    with served(best, "--host", "0.0.0.0") as running:
        assert send(running.port, post(b"x")).status == 400
        running.process.terminate()
        _, errors = running.process.communicate(timeout=20)
    assert "whoever reaches this machine" in " ".join(errors.split())


def test_without_a_checkpoint_it_names_the_command(run_cli, tmp_path):
    said = refused(run_cli("serve", "--logdir", tmp_path))
    assert "python cli.py train-cifar" in said


@pytest.mark.parametrize("content", [b"", b"Hello", b"PK\x03\x04", bytes(99)])
def test_an_unreadable_checkpoint_is_one_sentence(run_cli, tmp_path, content):
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    assert str(path) in refused(run_cli("serve", "--checkpoint", path))


def test_code_in_a_checkpoint_never_runs(run_cli, tmp_path, hostile):
    mark = hostile(tmp_path / "a.pt", "zip")
    refused(run_cli("serve", "--checkpoint", tmp_path / "a.pt"))
    assert not mark.exists()


def test_a_checkpoint_that_is_replaced_or_deleted_changes_nothing(
    best, tmp_path, seven
):
    path = tmp_path / "best.pt"
    path.write_bytes(best.read_bytes())
    with served(path, "--device", "cpu") as running:
        before = json.loads(send(running.port, post(seven)).text)
        path.write_bytes(b"something else")
        after = json.loads(send(running.port, post(seven)).text)
        path.unlink()
        last = json.loads(send(running.port, post(seven)).text)
    found = [one["probabilities"] for one in (before, after, last)]
    assert found[0] == found[1] == found[2]


def test_a_real_run_of_train_mnist_is_served(run_cli, tmp_path):
    words = ["--data", "digits", "--epochs", "2", "--limit", "400"]
    result = run_cli("train-mnist", *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    loaded = open_served(None, tmp_path, "cpu")
    assert (loaded.shape, loaded.digits) == ((1, 28, 28), True)
    report = json.loads(next(tmp_path.glob("*/*/run.json")).read_text())
    tested = digits(28)[1].limited(400)
    right = 0
    for image, label in zip(tested.images, tested.labels, strict=True):
        found = lesson.answer(loaded, BytesIO(png(image)))
        right += found["classes"][0] == str(label.item())
    assert right / len(tested) == pytest.approx(report["test_accuracy"])


@pytest.mark.parametrize("own_pictures", [True, False])
def test_what_train_flowers_keeps_is_served(tmp_path, own_pictures):
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8)
    if own_pictures:
        model, classes = flower_net(3).eval(), ["daisy", "rose", "tulip"]
        image = pixels[:, 16:-16, 16:-16]
    else:
        classes = list("56789")
        model = normalized(CifarNet(5, "relu"), pixels[None])
        image = pixels = pixels[:, :32, :32]
    kept = {"made_by": "train-flowers, format 3", "classes": classes}
    kept |= {"model": model.state_dict(), "settings": {}}
    save_checkpoint(tmp_path / "a.pt", kept)
    loaded = open_served(tmp_path / "a.pt", tmp_path, "cpu")
    found = lesson.answer(loaded, BytesIO(png(pixels)))
    with torch.no_grad():
        shares = model(image[None])[0].softmax(0)
    assert found["classes"][0] == classes[shares.argmax()]
    assert found["probabilities"][0] == pytest.approx(
        shares.max().item(), abs=1e-5
    )


@pytest.mark.parametrize("made_by", ["train-mnist", "train-flowers"])
def test_a_checkpoint_that_names_the_wrong_lesson_is_one_sentence(
    run_cli, best, tmp_path, made_by
):
    kept = torch.load(best, weights_only=True)
    for settings in (kept["settings"], {}, {"model": "mlp"}):
        other = kept | {"made_by": f"{made_by}, format 3"}
        other |= {"settings": settings, "classes": ["a", "b"]}
        torch.save(other, tmp_path / "a.pt")
        words = ["serve", "--explain", "--checkpoint", tmp_path / "a.pt"]
        assert "doesn't fit" in refused(run_cli(*words))


def test_the_newest_run_of_the_three_lessons_is_taken(best, tmp_path):
    for lesson_, day in (("train-cifar", "02"), ("train-mnist", "01")):
        folder = tmp_path / lesson_ / f"2026-01-{day}_00-00-00"
        folder.mkdir(parents=True)
        (folder / "best.pt").write_bytes(best.read_bytes())
    found = open_served(None, tmp_path, "cpu")
    assert "train-cifar" in found.name


@pytest.mark.parametrize("words", [["--port", "70000"], ["--port", "x"], ["a"]])
def test_a_wrong_option_exits_2(run_cli, words):
    assert run_cli("serve", *words).exit_code == 2
