"""Event files, read back by TensorBoard's own readers.

They are the thorough ones, those of tensorboard --load_fast=false: the fast one
drops the points before the place where a curve goes back to an earlier step.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tensorboard.backend.event_processing import (
    event_accumulator,
    event_file_loader,
    io_wrapper,
)
from torch import Tensor

Entries = dict[str, list[tuple[int, float | str]]]
KINDS = {"images": "image", "histograms": "histogram", "tensors": "text"}


def raw_events(file: Path) -> list[bytes]:
    """The events of one file, as they are stored."""
    return [*event_file_loader.RawEventFileLoader(str(file)).Load()]


def entries(run: Path) -> Entries:
    """What a run has: under each tag its steps, in the order of the files.

    With each step stands a scalar's value, or another entry's kind.
    """
    events = _read(run)
    tags = events.Tags()
    found: Entries = {}
    for tag in tags["scalars"]:
        found[tag] = [(e.step, e.value) for e in events.Scalars(tag)]
    readers = events.Images, events.Histograms, events.Tensors
    for (group, kind), reader in zip(KINDS.items(), readers, strict=True):
        for tag in tags[group]:
            found[tag] = [(e.step, kind) for e in reader(tag)]
    return found


def picture(run: Path, tag: str) -> Tensor:
    """The last picture under a tag, (H, W, 3) uint8."""
    file = BytesIO(_read(run).Images(tag)[-1].encoded_image_string)
    return torch.from_numpy(np.array(Image.open(file)))


def runs_below(logdir: Path) -> list[str]:
    """The runs that tensorboard --logdir finds, without the path to logdir."""
    found = io_wrapper.GetLogdirSubdirectories(str(logdir))
    return sorted(str(Path(run).relative_to(logdir)) for run in found)


def _read(run: Path) -> event_accumulator.EventAccumulator:
    everything = {"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}
    return event_accumulator.EventAccumulator(str(run), everything).Reload()
