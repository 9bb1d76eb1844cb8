"""Which image sets are here, and explicit downloads of those not embedded.

A download becomes data only after its checksum is right and all of it is
unpacked: it is renamed into place as one whole folder, so that whatever goes
wrong before leaves nothing behind.
"""

import errno
import gzip
import hashlib
import os
import shutil
import socket
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Literal, NamedTuple, NoReturn
from urllib.error import HTTPError
from urllib.request import urlopen

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from shared.console import console, fail, warn

# Where torchvision looks for each set, below data/. It stands here too because
# importing torchvision takes seconds, and asking what is there should not.
FOLDERS = {
    "cifar10": Path("cifar-10-batches-py"),
    "mnist": Path("MNIST", "raw"),
}

# The SHA-256 of the bytes of all training images, then all test images.
EMBEDDED_SHA256 = {
    "digits": (
        "9db6c8eb62614d1f892085bd6e898d4fa3ebca3c91b50fc309d479a27bd3f815"
    ),
    "photo-digits": (
        "c53d2e081601ade9afa0c75dfcb09f5ce77bf699a84beee76a4a94100b4a572e"
    ),
}

SETS = {
    "digits": "handwritten digits: 1,797, 8x8, grey",
    "photo-digits": "digits over photographs: 12,000, 32x32, RGB",
    "cifar10": "photographs of 10 kinds: 60,000, 32x32, RGB",
    "mnist": "handwritten digits: 70,000, 28x28, grey",
}


class DownloadError(Exception):
    """The other side failed: no network, no such file, or the wrong bytes."""


class Source(NamedTuple):
    """Where a set comes from.

    The mirrors are base addresses, each of which holds all files. The files are
    (name, MD5).
    """

    mirrors: list[str]
    files: list[tuple[str, str]]


def is_there(name: str, root: Path) -> bool:
    """Whether a set is in root, whole or not; embedded sets always are.

    This is fast, because only the folder is looked for.
    """
    return name in EMBEDDED_SHA256 or (root / FOLDERS[name]).is_dir()


def is_whole(name: str, root: Path) -> bool:
    """Read a set and check its checksums, or for mnist the number of images.

    mnist has no checksums. False also when the set is missing. Takes up to a
    few seconds. Raises ImportError without torch.
    """
    try:
        if name in EMBEDDED_SHA256:
            return _sha256(name) == EMBEDDED_SHA256[name]
        check = _cifar10_is_whole if name == "cifar10" else _mnist_is_whole
        return check(root)
    except ImportError:
        raise  # then torch or torchvision is what is broken, not the set
    except Exception:  # a damaged file can raise anything in the reader
        return False


def state(name: str, root: Path) -> Literal["whole", "damaged", "missing"]:
    if not is_there(name, root):
        return "missing"
    return "whole" if is_whole(name, root) else "damaged"


def mend(name: str, root: Path) -> str:
    """What to do about a damaged set, in words and with the command."""
    if name in EMBEDDED_SHA256:
        return "python -m pip install --force-reinstall scikit-learn pillow"
    folder = root / FOLDERS[name]
    return f"delete the folder {folder}, then: python cli.py data get {name}"


def download(
    name: str, root: Path, mirror: str | None = None, timeout: float = 30
) -> None:
    """Put cifar10 or mnist where torchvision looks for it in root.

    The set gets there whole or not at all. mirror replaces the usual base
    addresses. timeout is how many seconds may pass without a byte. Ends the
    command with exit code 1 when the set can't be had; KeyboardInterrupt passes
    through.
    """
    goal = root / FOLDERS[name]
    if is_there(name, root):
        if not is_whole(name, root):
            problem = f"{name} is already in {goal}, but it is damaged."
            fail(problem, mend(name, root))
        return _report(
            f"{name} is already in {goal}, and it is whole. "
            "Nothing was downloaded."
        )
    try:
        with _scratch_folder(root / f"{name}.part") as scratch:
            _fetch_from_any(_source(name, mirror), scratch, timeout)
            _unpack(name, scratch, goal)
    except DownloadError as error:
        problem = f"Can't download {name}: {error}. Nothing was kept."
        fail(problem, _try_again(name, mirror))
    except OSError as error:
        _cannot_write(error, name, root)
    except KeyboardInterrupt:
        warn(
            f"Stopped. Nothing of {name} was kept. "
            f"To start again: python cli.py data get {name}"
        )
        raise
    _report(f"{name} is in {goal}, whole.")


def download_weights(
    address: str, folder: Path | None = None, timeout: float = 5
) -> Path | None:
    """A network's numbers, as a file; None, and a warning, if that fails.

    The address ends as torchvision's do: name-0123abcd.pth, where 0123abcd
    begins the file's SHA-256. Without a folder it goes where torchvision looks,
    too. What is there and whole is not downloaded again. timeout is how many
    seconds may pass without a byte.
    """
    if folder is None:
        from torch.hub import get_dir

        folder = Path(get_dir(), "checkpoints")
    try:
        return _weights(address, folder, timeout)
    except DownloadError as error:
        warn(f"Can't download weights: {error}. It goes on without them.")
    except OSError as error:
        warn(
            f"Can't keep weights in {folder}: {error.strerror}. "
            "It goes on without them."
        )
    return None


def _weights(address: str, folder: Path, timeout: float) -> Path:
    """Raises DownloadError, or OSError when the folder can't be written."""
    goal = folder / address.rpartition("/")[2]
    begin = goal.stem.rpartition("-")[2]
    if goal.is_file() and _begins(goal, begin):
        return goal
    folder.mkdir(parents=True, exist_ok=True)
    part = goal.with_name(f"{goal.name}.{os.getpid()}.part")
    try:
        with _progress() as bar, part.open("wb") as file:
            for piece in _arriving(address, timeout, bar):
                file.write(piece)
        if not _begins(part, begin):
            problem = "the checksum of what came is wrong"
            raise DownloadError(f"{address}: {problem}")
        part.replace(goal)
    finally:
        part.unlink(missing_ok=True)
    return goal


def _begins(path: Path, begin: str) -> bool:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return digest.hexdigest().startswith(begin)


def _report(message: str) -> None:
    # a path must not be broken in two
    console.print(f"✓ {message}", markup=False, soft_wrap=True)


def _try_again(name: str, mirror: str | None) -> str:
    again = f"python cli.py data get {name}"
    if mirror:
        step = "check the address that --mirror gives, or take the usual one"
        return f"{step}: {again}"
    other = "or name another server with --mirror"
    return f"check the network, then: {again}, {other}"


def _cannot_write(error: OSError, name: str, root: Path) -> NoReturn:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        problem = f"The disk of {root} is full."
        first = "free some space"
    else:
        problem = f"Can't write to {root}: {error.strerror}."
        first = "make it a folder to write in"
    fail(
        f"{problem} Nothing of {name} was kept.",
        f"{first}, then: python cli.py data get {name}",
    )


@contextmanager
def _scratch_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards.

    An earlier one, left by a kill, is removed first.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _source(name: str, mirror: str | None) -> Source:
    """Where a set comes from, as torchvision knows it."""
    from torchvision.datasets import CIFAR10, MNIST

    if name == "cifar10":
        usual = [CIFAR10.url.removesuffix(CIFAR10.filename)]
        files = [(CIFAR10.filename, CIFAR10.tgz_md5)]
    else:
        usual, files = MNIST.mirrors, MNIST.resources
    return Source([mirror] if mirror else usual, files)


def _fetch_from_any(source: Source, folder: Path, timeout: float) -> None:
    """Download all files from the first mirror that has them.

    Raises DownloadError.
    """
    problems = []
    for mirror in source.mirrors:
        try:
            with _progress() as bar:
                for filename, md5 in source.files:
                    address = f"{mirror.rstrip('/')}/{filename}"
                    _fetch(address, md5, folder / filename, timeout, bar)
            return
        except DownloadError as error:
            problems.append(str(error))
    raise DownloadError("; ".join(problems))


def _progress() -> Progress:
    """A bar in bytes that vanishes when done; silent in a file or pipe."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _fetch(
    address: str, md5: str, path: Path, timeout: float, bar: Progress
) -> None:
    """Download one file.

    Raises DownloadError, or OSError when path can't be written.
    """
    digest = hashlib.md5(usedforsecurity=False)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        for piece in _arriving(address, timeout, bar):
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() != md5:
        raise DownloadError(f"{address}: the checksum of what came is wrong")
    part.replace(path)


def _arriving(address: str, timeout: float, bar: Progress) -> Iterator[bytes]:
    """The bytes behind an address, piece by piece. Raises DownloadError.

    A generator, so that an OSError of whoever writes the pieces is not taken
    for the network's.
    """
    received = 0
    try:
        with _answer(address, timeout) as response:
            promised = response.length
            task = bar.add_task(address.rpartition("/")[2], total=promised)
            while piece := response.read1(1 << 16):
                received += len(piece)
                bar.advance(task, len(piece))
                yield piece
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadError(f"{address}: {_reason(error, timeout)}") from error
    if promised is not None and received < promised:
        raise DownloadError(
            f"{address}: cut short after {received:,} of {promised:,} bytes"
        )


def _answer(address: str, timeout: float) -> HTTPResponse:
    """Open an address. Raises TimeoutError without an answer in that time.

    urlopen waits so long for each address of a server and each piece of its
    answer, and for its name as long as the system likes: a thread does that.
    """
    answers: Queue[HTTPResponse | Exception] = Queue()

    def ask() -> None:
        try:
            answers.put(urlopen(address, timeout=timeout))
        except Exception as error:
            answers.put(error)

    Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=timeout + 1)  # urlopen's own comes first
    except Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, HTTPError):
        return f"the server answered {error.code} {error.reason}"
    cause = getattr(error, "reason", error)  # URLError wraps what happened
    if isinstance(cause, TimeoutError):
        return f"nothing came for {timeout:g} seconds"
    if isinstance(cause, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(cause, socket.gaierror):
        return "the server's name was not found, so perhaps there is no network"
    return str(cause) or type(cause).__name__


def _unpack(name: str, scratch: Path, goal: Path) -> None:
    """Unpack what is in scratch, check it there, and rename it to goal.

    Raises DownloadError.
    """
    archives = list(scratch.iterdir())
    folder = scratch / FOLDERS[name]
    for archive in archives:
        if name == "cifar10":
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter="data")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            with (
                gzip.open(archive) as packed,
                (folder / archive.stem).open("wb") as file,
            ):
                shutil.copyfileobj(packed, file)
    if not is_whole(name, scratch):
        raise DownloadError(
            "what came is damaged, though its checksum is right"
        )
    goal.parent.mkdir(exist_ok=True)
    folder.rename(goal)


def _cifar10_is_whole(root: Path) -> bool:
    from torchvision.datasets import CIFAR10

    # it compares the MD5 of every file, and raises
    return bool(CIFAR10(root, train=False))


def _mnist_is_whole(root: Path) -> bool:
    from torchvision.datasets import MNIST

    for train, count in ((True, 60_000), (False, 10_000)):
        part = MNIST(root, train=train)
        if part.data.shape != (count, 28, 28) or part.targets.shape != (count,):
            return False
    return True


def _sha256(name: str) -> str:
    """The digest of an embedded set, made anew."""
    from shared.datasets.embedded import digits, photo_digits

    train, test = digits() if name == "digits" else photo_digits()
    digest = hashlib.sha256(train.images.numpy())
    digest.update(test.images.numpy())
    return digest.hexdigest()
