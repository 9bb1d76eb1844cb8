"""Curves and pictures in the browser: TensorBoard.

Your program tells a SummaryWriter what it finds out while it runs:
    writer.add_scalar(tag, value, step)
is a point of the curve named tag: step is its x, value its y. The writer
appends it to a file. TensorBoard, another program, reads the file, even
while yours still runs, and draws it in your browser. You will read one.

    python cli.py tensorboard-demo --step
"""

from pathlib import Path

import torch
import typer
from tensorboard.compat.proto.event_pb2 import Event
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from shared import console
from shared.board import board
from shared.datasets.embedded import digits
from shared.datasets.pictures import own_or_photograph
from shared.events import Entries, entries, picture, raw_events, runs_below
from shared.figures import curves_figure
from shared.options import LOGS, LogDir, Picture

WORDS = {
    "event file": "a writer's file of events; an event is a curve's point, say",
    "tag": "the name of a curve, a picture, a text, ..., such as line/y",
    "scalar": "a single number; one for each step makes a curve",
    "run": "a folder with event files; give each start of a program its own",
}
TABS = {"image": "IMAGES", "histogram": "HISTOGRAMS", "text": "TEXT"}
LOOK = """SCALARS (set Smoothing to 0, and untick
"Ignore outliers": see all of 3x), IMAGES, HISTOGRAMS, TEXT. Open each group."""


# ---- By hand ----------------------------------------------------------------
def records(content: bytes) -> list[bytes]:
    """The events in a file: its records without length and checksums."""
    found, start = [], 0
    while start + 12 <= len(content):  # 8 bytes of length, 4 of checksum
        length = int.from_bytes(content[start : start + 8], "little")
        end = start + 12 + length
        if end + 4 > len(content):  # it is still being written, or cut off
            break
        found.append(content[start + 12 : end])
        start = end + 4  # the next record begins behind this one's checksum
    return found


def curve(content: bytes, tag: str) -> Tensor:
    """The points (step, value) of one scalar, in the file's order: (N, 2)."""
    points = []  # float64, below: float32 rounds steps above 2**24
    for record in records(content):
        event = Event.FromString(record)
        for entry in event.summary.value:  # none in a file's first record
            if entry.tag == tag:
                points.append((event.step, entry.simple_value))
    return torch.tensor(points, dtype=torch.float64).reshape(-1, 2)  # or (0, 2)


# ---- Mistakes ---------------------------------------------------------------
def wrong_again(folder: Path) -> Entries:
    """One folder is one run. Its files hold six points: TensorBoard drops those
    before the return to step 0 or, on Windows and new Macs, draws a zigzag."""
    write_line(folder / "both", factor=1)  # y = x, for x in 0, 1, 2
    write_line(folder / "both", factor=3)  # changed, and started again
    return entries(folder / "both")  # a tag, and its (step, value) pairs


def right_again(folder: Path) -> list[Entries]:
    """a folder for each start: two curves. (Untick both, it may hide one.)"""
    write_line(folder / "x", factor=1)
    write_line(folder / "3x", factor=3)
    return [entries(folder / "x"), entries(folder / "3x")]


def wrong_roof(folder: Path, roof: Tensor) -> bool:
    """add_image wants (C, H, W), and takes 160, the height, for the channels.
    The error speaks of a type, |u1 (uint8): another dtype changes nothing."""
    with SummaryWriter(folder / "roof") as writer:
        writer.add_image("roof", roof)  # (160, 140, 3)
    return picture(folder / "roof", "roof").equal(roof)


def right_roof(folder: Path, roof: Tensor) -> bool:
    """say in which order the dimensions are, or change it with permute. (A
    reshape gives no error, but it tears the picture to pieces.)"""
    with SummaryWriter(folder / "whole") as writer:
        writer.add_image("roof", roof, dataformats="HWC")
    return picture(folder / "whole", "roof").equal(roof)


def wrong_greys(folder: Path) -> Tensor:
    """All but black are white. All dtypes but uint8 should go from 0, black,
    to 1, white: they are multiplied by 255, then cut off at 0 and 255."""
    greys = torch.tensor([[0.0, 64, 128, 192]])
    with SummaryWriter(folder / "white") as writer:
        writer.add_image("greys", greys, dataformats="HW")
    return picture(folder / "white", "greys")[..., 0]  # red


def right_greys(folder: Path) -> Tensor:
    """divide by 255 what goes from 0 to 255, or make it uint8."""
    greys = torch.tensor([[0.0, 64, 128, 192]]) / 255
    with SummaryWriter(folder / "greys") as writer:
        writer.add_image("greys", greys, dataformats="HW")
    return picture(folder / "greys", "greys")[..., 0]  # red


def wrong_end(folder: Path) -> Entries:
    """The picture is not there yet: the writer works beside your program. If
    that ended now, the picture would be lost. (Ours goes on, so it comes.)"""
    writer = SummaryWriter(folder / "end")
    writer.add_image("noise", torch.rand(3, 400, 400))
    return entries(folder / "end")


def right_end(folder: Path) -> Entries:
    """with waits until all is written. Without it, call writer.flush()."""
    with SummaryWriter(folder / "closed") as writer:
        writer.add_image("noise", torch.rand(3, 400, 400))
    return entries(folder / "closed")


def wrong_logdir(folder: Path) -> list[str]:
    """There is no folder log: the page says "No dashboards are active"."""
    return runs_below(folder / "log")  # as tensorboard --logdir does


def right_logdir(folder: Path) -> list[str]:
    """name the runs' folder, or one above it, seen from where you stand."""
    return runs_below(folder)


def write_line(run: Path, factor: int) -> None:
    with SummaryWriter(run) as writer:
        for x in range(3):
            writer.add_scalar("y", factor * x, x)


# ---- The lesson -------------------------------------------------------------
def show_paper_case(run: Path) -> None:
    console.section('On paper: what add_scalar("y", 6, 3, walltime=0) writes')
    with SummaryWriter(run) as writer:
        writer.add_scalar("y", 6, 3, walltime=0)
    (path,) = run.iterdir()
    content, record = path.read_bytes(), path.read_bytes()[-30:]
    rows = [
        (record[:8].hex(" "), f"the event's length, {record[0]}"),
        (record[8:12].hex(" "), "a checksum of it, to notice damage"),
        (record[12:-4].hex(" "), f"the event: step {record[13]}, tag, value"),
        (record[-4:].hex(" "), "a checksum of it"),
    ]
    console.table(["bytes, in hexadecimal", "what they are"], rows)
    console.say(
        "They are one record: 8 + 4 + 14 + 4 = 30 bytes. 79 is the letter y. "
        "Without walltime=0 the event has 9 bytes more, for the time of day."
    )
    six = torch.tensor([*record[-8:-4]], dtype=torch.uint8).view(torch.float32)
    console.agrees("00 00 c0 40 as a float32 = 6", six, torch.tensor([6]), 0)
    console.code(records)
    console.ask("How many records has the file of this one point?")
    ours, theirs = records(content), raw_events(path)
    console.say(f"The file has {len(ours)} records; the first names its kind.")
    pair = [torch.tensor([*map(len, e), *b"".join(e)]) for e in (ours, theirs)]
    console.agrees("records = TensorBoard's own reader", *pair, 0)


def write_all(writer: SummaryWriter, photo: Tensor, images: Tensor) -> None:
    for x in range(100):
        writer.add_scalar("line/y", 2 * x, x)
        writer.add_scalars("lines", {"x": x, "2x": 2 * x, "3x": 3 * x}, x)
    writer.add_image("images/hwc", photo, dataformats="HWC")
    writer.add_image("images/chw", photo.permute(2, 0, 1))
    writer.add_images("images/grid", images)  # (20, 1, 28, 28)
    for step in range(5):  # a thousand random numbers, most near step
        writer.add_histogram("numbers", torch.randn(1000) + step, step)
    x = torch.arange(100)
    writer.add_figure("figure", curves_figure(x, {"y = 2x": 2 * x}, "x", "y"))
    writer.add_text("note", "A text, with **bold** words: *y* is twice *x*.")


def show_everything(writer: SummaryWriter, photo: Tensor) -> None:
    console.section("Curves, pictures, histograms, texts")
    console.code(write_all)
    console.ask("How many events will line/y have? And images/grid?")
    run, (train, _) = Path(writer.log_dir), digits(28)
    write_all(writer, photo, train.images[:20])
    writer.flush()  # wait until all is in the file
    found = entries(run)
    rows = [(t, len(e), TABS.get(e[0][1], "SCALARS")) for t, e in found.items()]
    console.table(["tag", "events", "tab in TensorBoard"], rows)
    (path,) = run.glob("*tfevents*")
    pair = curve(path.read_bytes(), "line/y"), torch.tensor(found["line/y"])
    console.agrees("curve by hand, line/y = TensorBoard's", *pair, 0)
    console.pictures({"images/chw": photo.permute(2, 0, 1) / 255}, "images/chw")
    console.say(
        f"images/hwc came as {tuple(photo.shape)}, images/chw with 3 in front. "
        "20 images of 28 x 28 became one picture of 84 x 224, eight in a row. "
        "A histogram counts its numbers, range by range: expect five hills, "
        "their tops near 0, 1, 2, 3, 4. add_text added /text_summary. The tag "
        "lines is missing: a run has one curve under a tag, so add_scalars "
        "made a run, a folder in ours, for each: lines_2x, lines_3x, lines_x. "
        "TensorBoard draws them in one plot. While a network is trained, call "
        "add_scalar at each step. Reload the page for new points."
    )


def run(image: Picture = None, logdir: LogDir = LOGS) -> None:
    """Draw curves in TensorBoard, and read its file."""
    torch.manual_seed(0)
    console.opening(__doc__)
    console.words(WORDS)
    photo = own_or_photograph(image, "china")
    roof = own_or_photograph(None, "china")[20:180, 130:270]
    with board("tensorboard-demo", logdir, LOOK) as writer:
        folder = Path(writer.log_dir)
        show_paper_case(folder / "paper")
        show_everything(writer, photo)
        given = {"folder": folder / "mistakes", "roof": roof}
        console.mistakes(__name__, raises=TypeError, **given)
        console.remember(
            "from torch.utils.tensorboard import SummaryWriter",
            "with SummaryWriter() as writer:  # below runs, named by the time",
            '    writer.add_scalar("y", 6, 3)  # tensorboard --logdir runs',
        )
        console.say(
            "Exercise: write image_grid(images, columns), which lays images "
            "(N, 3, H, W) row by row, and zeros in what is left. For "
            "torch.rand(20, 3, 28, 28) and 1, 8 or 20 columns it equals "
            "torchvision.utils.make_grid(images, columns, padding=0)."
        )
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
