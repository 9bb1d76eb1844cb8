"""TensorBoard: one run is one folder, logs/<lesson>/<date and time>/."""

import errno
import getpass
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from shared.console import command, fail, say, short, warn


@contextmanager
def board(
    lesson: str,
    logdir: Path,
    look: str,
    resume: Path | None = None,
    first_step: int | None = None,
) -> Iterator[SummaryWriter]:
    """Open a new run's folder; at the end say how to look at it, and at what.

    The folder is writer.log_dir. With resume, a run's folder, the curves go on
    in it: whatever an interrupted run logged at first_step or later is dropped.
    A folder that can't be written and a full disk end the command with exit
    code 1.
    """
    try:
        folder = resume or _new_folder(logdir / lesson)
        writer = SummaryWriter(str(folder), purge_step=first_step)
    except OSError as error:
        fail(
            f"Can't write to {logdir}: {error.strerror}.",
            "choose another folder with --logdir",
        )
    try:
        yield writer
        writer.close()
    except BaseException as error:
        with suppress(OSError):
            writer.close()
        if isinstance(error, KeyboardInterrupt):
            warn(f"Stopped. What was logged until now is in {short(folder)}")
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            fail(
                f"The disk is full. What {folder} held before is whole.",
                "free some space, or choose another disk with --logdir",
            )
        raise
    say("In TensorBoard: ", tensorboard_command(logdir))
    if tunnel := tunnel_command():
        say("Before, on your own machine: ", tunnel)
    say(f"Open the address that it prints. There: {look}")


def _new_folder(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder = parent / name
    while folder.exists():  # a second run in the same second
        number = int(folder.name.removeprefix(name).lstrip("-") or 1)
        folder = parent / f"{name}-{number + 1}"
    folder.mkdir()
    return folder


def log_settings(
    writer: SummaryWriter,
    settings: dict[str, Any],
    results: dict[str, float],
    step: int,
) -> None:
    """Log a run's settings beside its results, for the tab HPARAMS."""
    plain = {
        n: v if type(v) in (int, float) else str(v) for n, v in settings.items()
    }
    named = {f"result/{name}": value for name, value in results.items()}
    writer.add_hparams(plain, named, run_name=".", global_step=step)


def tensorboard_command(logdir: Path) -> str:
    """The command line that shows logdir, ready to paste on this machine."""
    here = [sys.executable, "-m", "tensorboard.main"]
    program = ["tensorboard"] if shutil.which("tensorboard") else here
    return command(*program, "--logdir", short(logdir))


def tunnel_command() -> str:
    """In an SSH session: what brings TensorBoard's page home. Else nothing."""
    connection = os.environ.get("SSH_CONNECTION", "").split()
    if len(connection) != 4:
        return ""
    _, _, address, port = connection  # the last two are this machine's
    words = ["ssh", "-L", "6006:localhost:6006"]
    if port != "22":
        words += ["-p", port]
    return command(*words, f"{getpass.getuser()}@{address}")
