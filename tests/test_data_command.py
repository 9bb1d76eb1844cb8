import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shared.datasets import downloads

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def root(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr("shared.options.DATA", tmp_path / "data")
    return tmp_path / "data"


def test_the_list_says_what_is_here_and_how_to_get_the_rest(run_cli, root):
    (root / "MNIST" / "raw").mkdir(parents=True)
    result = run_cli("data")
    assert result.exit_code == 0, result.output
    how = "To get cifar10: python cli.py data get cifar10"
    assert how in result.stdout.splitlines()
    assert "To get mnist" not in result.stdout
    for name in downloads.SETS:
        assert name in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_check_accepts_what_is_missing(run_cli, root, monkeypatch):
    monkeypatch.setattr(downloads, "_sha256", downloads.EMBEDDED_SHA256.get)
    result = run_cli("data", "check")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("✓ whole") == 2
    assert result.stdout.count("· not here") == 2


def test_check_names_what_is_damaged_and_the_command(
    run_cli, root, monkeypatch
):
    monkeypatch.setattr(downloads, "_sha256", downloads.EMBEDDED_SHA256.get)
    (root / "cifar-10-batches-py").mkdir(parents=True)
    result = run_cli("data", "check")
    assert result.exit_code == 1
    assert "✗ damaged" in result.stdout
    problem, next_step = result.stderr.splitlines()
    assert problem == f"Error: Damaged in {root}: cifar10."
    assert str(root / "cifar-10-batches-py") in next_step
    assert next_step.endswith("python cli.py data get cifar10")


def test_check_finds_an_embedded_set_that_came_out_otherwise(
    run_cli, root, monkeypatch
):
    known = downloads.EMBEDDED_SHA256["photo-digits"]
    monkeypatch.setattr(downloads, "_sha256", lambda name: known)
    result = run_cli("data", "check")
    assert result.exit_code == 1
    assert f"Damaged in {root}: digits.\n" in result.stderr
    assert "pip install --force-reinstall scikit-learn" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("get",),
        ("get", "cifar100"),
        ("get", "mnist", "--timeout", 0),
        ("get", "mnist", "--timeout", "nan"),
        ("get", "mnist", "--timeout", "inf"),
        ("get", "mnist", "--mirror", "ftp://example.org"),
        ("get", "mnist", "--mirror", "http://"),
        ("put",),
    ],
)
def test_wrong_options_exit_2(run_cli, root, words):
    assert run_cli("data", *words).exit_code == 2
    assert not root.exists()


def trickle(listener: socket.socket, begun: threading.Event) -> None:
    """Promise a million bytes, and send a hundred.

    No more come until the other side goes.
    """
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head + bytes(100))
        begun.set()
        connection.recv(1)


@pytest.mark.skipif(
    os.name == "nt", reason="Windows sends Ctrl-C to a whole console only"
)
def test_ctrl_c_ends_a_download_and_keeps_nothing(tmp_path):
    for folder in ("lessons", "shared"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "cli.py", tmp_path)
    begun = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pair = (listener, begun)
        threading.Thread(target=trickle, args=pair, daemon=True).start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        words = ["data", "get", "cifar10", "--mirror", address]
        process = subprocess.Popen(
            [sys.executable, "cli.py", *words],
            cwd=tmp_path,
            env={**os.environ, "no_proxy": "127.0.0.1"},
            stderr=subprocess.PIPE,
            text=True,
            # a shell that runs the tests in the background has switched
            # Ctrl-C off
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert begun.wait(60)
        assert (tmp_path / "data" / "cifar10.part").is_dir()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Nothing of cifar10 was kept" in stderr
    assert "Traceback" not in stderr
    assert list((tmp_path / "data").iterdir()) == []
