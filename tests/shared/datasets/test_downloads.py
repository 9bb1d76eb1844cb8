import errno
import gzip
import hashlib
import io
import pickle
import socket
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, MNIST

from shared.datasets import downloads


class Mirror(BaseHTTPRequestHandler):
    """The first part of the path says how the server behaves.

    It is /good, /short, /wrong, /hang or /missing.
    """

    files: dict[str, bytes]
    release: threading.Event

    def do_GET(self):
        _, manner, filename = self.path.split("/")
        content = self.files.get(filename)
        if content is None or manner == "missing":
            return self.send_error(404)
        if manner == "hang":
            self.release.wait(60)
            return None
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        sent = {
            "good": content,
            "short": content[:-10],
            "wrong": content[:-1] + b"?",
        }
        return self.wfile.write(sent[manner])

    def log_message(self, *args):
        pass


def md5_of(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def mirror(monkeypatch, cifar10_archive, mnist_archives):
    """The base address of a server on this machine.

    It holds small stand-ins for both sets.
    """
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    files = {CIFAR10.filename: cifar10_archive, **mnist_archives}
    release = threading.Event()
    handler = type("Handler", (Mirror,), {"files": files, "release": release})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(
        target=server.serve_forever, args=(0.01,), daemon=True
    ).start()
    yield f"http://127.0.0.1:{server.server_port}"
    release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def cifar10_archive(monkeypatch) -> bytes:
    """An archive like CIFAR-10's, two images a file.

    torchvision is made to expect it in place of CIFAR-10's.
    """
    labels = {"label_names": [str(number) for number in range(10)]}
    pixels = np.zeros((2, 3072), np.uint8)
    batch = pickle.dumps({"data": pixels, "labels": [0, 1]})
    files = {f"data_batch_{number}": batch for number in range(1, 6)}
    files |= {"test_batch": batch, "batches.meta": pickle.dumps(labels)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    md5 = {name: md5_of(content) for name, content in files.items()}
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5_of(buffer.getvalue()))
    train = [[name, md5[name]] for name in files if name.startswith("data")]
    monkeypatch.setattr(CIFAR10, "train_list", train)
    test = [["test_batch", md5["test_batch"]]]
    monkeypatch.setattr(CIFAR10, "test_list", test)
    meta = {**CIFAR10.meta, "md5": md5["batches.meta"]}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def blank_mnist() -> dict[str, bytes]:
    """MNIST's four archives in full size, every pixel and every label 0."""
    archives = {}
    for split, count in (("train", 60_000), ("t10k", 10_000)):
        heads = {
            "images-idx3": [0x803, count, 28, 28],
            "labels-idx1": [0x801, count],
        }
        for kind, head in heads.items():
            size = int(np.prod(head[1:]))
            content = np.array(head, ">i4").tobytes() + bytes(size)
            archives[f"{split}-{kind}-ubyte.gz"] = gzip.compress(content, 1)
    return archives


@pytest.fixture
def mnist_archives(monkeypatch, blank_mnist) -> dict[str, bytes]:
    names = [name for name, _ in MNIST.resources]
    resources = [(name, md5_of(blank_mnist[name])) for name in names]
    monkeypatch.setattr(MNIST, "resources", resources)
    return blank_mnist


@pytest.fixture
def root(monkeypatch, tmp_path) -> Path:
    """The data folder of this test; it does not exist yet."""
    monkeypatch.setattr("shared.options.DATA", tmp_path / "data")
    return tmp_path / "data"


def assert_fails_in_one_sentence(result, *words):
    assert result.exit_code == 1, result.output
    problem, next_step = result.stderr.splitlines()
    assert problem.startswith("Error: ")
    assert next_step.startswith("Next: ")
    assert "python cli.py data get" in next_step
    for word in words:
        assert word in problem


@pytest.mark.parametrize("name", ["cifar10", "mnist"])
def test_a_good_download_is_what_torchvision_reads(run_cli, mirror, root, name):
    result = run_cli("data", "get", name, "--mirror", f"{mirror}/good/")
    assert result.exit_code == 0, result.output
    folder = downloads.FOLDERS[name]
    assert result.stdout == f"✓ {name} is in {root / folder}, whole.\n"
    assert [path.name for path in root.iterdir()] == [folder.parts[0]]
    reader = {"cifar10": CIFAR10, "mnist": MNIST}[name]
    assert len(reader(root, train=False)) >= 2
    assert downloads.state(name, root) == "whole"


def test_what_is_there_and_whole_is_not_downloaded_again(run_cli, mirror, root):
    result = run_cli("data", "get", "cifar10", "--mirror", f"{mirror}/good")
    assert result.exit_code == 0, result.output
    result = run_cli("data", "get", "cifar10", "--mirror", f"{mirror}/missing")
    assert result.exit_code == 0
    assert "Nothing was downloaded" in result.stdout


@pytest.mark.parametrize(
    ("manner", "words"),
    [
        ("missing", ["404 Not Found"]),
        ("short", ["cut short after", "bytes"]),
        ("wrong", ["checksum"]),
        ("hang", ["nothing came for 0.5 seconds"]),
    ],
)
@pytest.mark.parametrize("name", ["cifar10", "mnist"])
def test_a_broken_download_is_never_taken_for_data(
    run_cli, mirror, root, name, manner, words
):
    options = ("--mirror", f"{mirror}/{manner}", "--timeout", 0.5)
    result = run_cli("data", "get", name, *options)
    words = (*words, f"{mirror}/{manner}/", name)
    assert_fails_in_one_sentence(result, *words)
    assert list(root.iterdir()) == []


def test_a_refused_connection(run_cli, root):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    result = run_cli("data", "get", "mnist", "--mirror", address)
    assert_fails_in_one_sentence(result, "refused")
    assert list(root.iterdir()) == []


def test_a_failure_leaves_the_other_set_as_it_was(run_cli, mirror, root):
    result = run_cli("data", "get", "cifar10", "--mirror", f"{mirror}/good")
    assert result.exit_code == 0, result.output
    result = run_cli("data", "get", "mnist", "--mirror", f"{mirror}/short")
    assert result.exit_code == 1, result.output
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]
    assert downloads.is_whole("cifar10", root)


def test_mirrors_are_tried_in_turn(run_cli, monkeypatch, mirror, root):
    mirrors = [f"{mirror}/missing/", f"{mirror}/good/"]
    monkeypatch.setattr(MNIST, "mirrors", mirrors)
    assert run_cli("data", "get", "mnist").exit_code == 0
    assert downloads.is_whole("mnist", root)


def test_every_mirror_that_failed_is_named(run_cli, monkeypatch, mirror, root):
    mirrors = [f"{mirror}/missing/", f"{mirror}/wrong/"]
    monkeypatch.setattr(MNIST, "mirrors", mirrors)
    result = run_cli("data", "get", "mnist")
    assert_fails_in_one_sentence(result, "404 Not Found", "checksum")


@pytest.mark.parametrize("step", ["write", "unpack"])
def test_a_full_disk_keeps_nothing(run_cli, monkeypatch, mirror, root, step):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "write":
        monkeypatch.setattr(Path, "open", full)
    else:
        monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    result = run_cli("data", "get", "cifar10", "--mirror", f"{mirror}/good")
    assert_fails_in_one_sentence(result, "disk", "full", str(root))
    assert list(root.iterdir()) == []


def test_a_folder_that_cant_be_written(run_cli, mirror, root):
    root.write_text("a file where the data folder should be")
    result = run_cli("data", "get", "cifar10", "--mirror", f"{mirror}/good")
    assert_fails_in_one_sentence(result, "Can't write", str(root))
    assert root.read_text() == "a file where the data folder should be"


def test_what_a_killed_download_left_is_removed(run_cli, mirror, root):
    left = root / "cifar10.part" / "cifar-10-python.tar.gz.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    result = run_cli("data", "get", "cifar10", "--mirror", f"{mirror}/good")
    assert result.exit_code == 0, result.output
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]


@pytest.mark.parametrize(
    ("name", "filename"),
    [("cifar10", "data_batch_3"), ("mnist", "t10k-images-idx3-ubyte")],
)
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_set_is_found_and_left_alone(
    run_cli, mirror, root, name, filename, damage
):
    result = run_cli("data", "get", name, "--mirror", f"{mirror}/good")
    assert result.exit_code == 0, result.output
    path = root / downloads.FOLDERS[name] / filename
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        path.unlink()
    assert downloads.is_there(name, root)
    assert downloads.state(name, root) == "damaged"
    before = sorted(path.parent.iterdir())
    result = run_cli("data", "get", name, "--mirror", f"{mirror}/good")
    assert_fails_in_one_sentence(result, "damaged", str(path.parent))
    assert sorted(path.parent.iterdir()) == before


def test_folders_are_those_of_torchvision(tmp_path):
    assert downloads.FOLDERS["cifar10"] == Path(CIFAR10.base_folder)
    reader = MNIST.__new__(MNIST)
    reader.root = tmp_path
    assert tmp_path / downloads.FOLDERS["mnist"] == Path(reader.raw_folder)


def test_embedded_sets_are_always_there(tmp_path):
    for name in downloads.EMBEDDED_SHA256:
        assert downloads.state(name, tmp_path) == "whole"


def test_missing_sets_are_missing(tmp_path):
    for name in downloads.FOLDERS:
        assert downloads.state(name, tmp_path) == "missing"
