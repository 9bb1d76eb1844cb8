"""Cases for lessons/tensorboard_demo.py."""

from collections.abc import Callable, Sequence
from io import BytesIO

import torch
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor

from shared.practice.cases import Cases, call

VERSION = Event(file_version="brain.Event:2").SerializeToString()


def records() -> Cases:
    """A record is a length (8 bytes), a checksum (4), the event, a checksum.

    int.from_bytes(eight_bytes, "little") reads the length. The event begins 12
    bytes behind the record's start, the next record 4 bytes behind its end.

    A file may be cut off anywhere, as long as a program writes to it: what is
    not whole, checksum included, is not a record yet.
    """
    for events in ([b"abc"], [b"abc", b"de"], [], [b""], [b"", b"a", b""]):
        yield call(_file(events)), _equals(events)
    long = [bytes(range(256)) * 3, b"b" * 70_000]  # lengths of 2 and 3 bytes
    yield call(_file(long)), _equals(long)
    lengths = torch.randint(1, 40, (20,)).tolist()
    events = [bytes(torch.randint(256, (n,)).tolist()) for n in lengths]
    yield call(_file(events)), _equals(events)
    whole, last = _file([b"abc", b"de"]), len(_file([b"de"]))
    for missing in range(1, last + 1):
        yield call(whole[:-missing]), _equals([b"abc"])


def curve() -> Cases:
    """Go through the records, and make an event of each: Event.FromString.

    event.summary.value holds its entries. Those with the right tag give a
    point: event.step and entry.simple_value.

    In the end there is a row for each point, in float64: float32 has no
    16,777,217 for a step. Without points there are still two columns:
    reshape(-1, 2).
    """
    line = [_event(x, y=2 * x) for x in range(3)]
    yield call(_file([VERSION, *line]), "y"), _rows([0, 0], [1, 2], [2, 4])
    mixed = [_event(3, y=6, z=7), _event(0, z=1), _event(1, y=0.5)]
    yield call(_file(mixed), "y"), _rows([3, 6], [1, 0.5])
    yield call(_file(mixed), "z"), _rows([3, 7], [0, 1])
    yield call(_file(mixed), "other"), _rows()
    yield call(_file([VERSION]), "y"), _rows()
    yield call(_file(line)[:-1], "y"), _rows([0, 0], [1, 2])
    far = [_event(2**24 + 1, y=1), _event(2**40 + 1, y=2)]
    yield call(_file(far), "y"), _rows([2**24 + 1, 1], [2**40 + 1, 2])
    values = torch.randn(50)
    events = [_event(s, y=v) for s, v in enumerate(values.tolist())]
    yield call(_file(events), "y"), _rows(*enumerate(values.tolist()))


def _rows(*points: Sequence[float]) -> Tensor:
    return torch.tensor(points, dtype=torch.float64).reshape(-1, 2)


def _event(step: int, **values: float) -> bytes:
    entries = [Summary.Value(tag=t, simple_value=v) for t, v in values.items()]
    return Event(step=step, summary=Summary(value=entries)).SerializeToString()


def _file(events: list[bytes]) -> bytes:
    """What TensorBoard's own writer makes of them."""
    file = BytesIO()
    for event in events:
        RecordWriter(file).write(event)
    return file.getvalue()


def _equals(events: list[bytes]) -> Callable[[list[bytes]], None]:
    def look(found: list[bytes]) -> None:
        assert list(found) == events, f"{found} should be {events}"

    return look
