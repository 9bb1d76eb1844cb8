"""Event files: TensorBoard's own readers say what was written."""

import torch
from torch.utils.tensorboard import SummaryWriter

from shared.events import entries, picture, raw_events, runs_below


def test_every_kind_of_entry_is_read_back_and_nothing_left_out(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        for step in range(20_000, 21_500):  # more than TensorBoard keeps
            writer.add_scalar("y", step / 2, step)
        writer.add_image("grey", torch.rand(1, 2, 3), 7)
        writer.add_histogram("numbers", torch.randn(9), 8)
        writer.add_text("note", "text", 9)
    found = entries(tmp_path)
    assert found.pop("y") == [(s, s / 2) for s in range(20_000, 21_500)]
    assert found == {
        "grey": [(7, "image")],
        "numbers": [(8, "histogram")],
        "note/text_summary": [(9, "text")],
    }
    (file,) = tmp_path.iterdir()
    assert len(raw_events(file)) == 1 + 1500 + 3


def test_a_picture_comes_back_as_it_was(tmp_path):
    pixels = torch.randint(256, (4, 5, 3)).byte()
    with SummaryWriter(tmp_path) as writer:
        writer.add_image("a", torch.zeros(3, 1, 1))
        writer.add_image("a", pixels, 1, dataformats="HWC")
    assert picture(tmp_path, "a").equal(pixels)


def test_an_empty_or_missing_folder_has_nothing(tmp_path):
    assert entries(tmp_path) == {}
    assert runs_below(tmp_path) == runs_below(tmp_path / "missing") == []


def test_runs_are_found_at_any_depth(tmp_path):
    for name in ("b", "a/deep"):
        SummaryWriter(tmp_path / name).close()
    (tmp_path / "empty").mkdir()
    assert runs_below(tmp_path) == ["a/deep", "b"]
