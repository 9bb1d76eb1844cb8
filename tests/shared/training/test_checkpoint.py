import pytest
import torch

from shared.training.checkpoint import (
    load_checkpoint,
    save_checkpoint,
    write_whole,
)


def test_what_is_saved_comes_back(tmp_path):
    checkpoint = {
        "model": {"weight": torch.randn(3, 3)},
        "history": [{"epoch": 1, "loss": 0.5}],
    }
    save_checkpoint(tmp_path / "last.pt", checkpoint)
    loaded = load_checkpoint(tmp_path / "last.pt")
    assert torch.equal(loaded["model"]["weight"], checkpoint["model"]["weight"])
    assert loaded["history"] == checkpoint["history"]
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path, monkeypatch
):
    write_whole(tmp_path / "file", b"old")
    monkeypatch.setattr("os.fsync", lambda number: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_every_cut_and_every_flipped_byte_of_the_weights_is_noticed(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"model": {"weight": torch.randn(64, 64)}})
    whole = path.read_bytes()
    weight = load_checkpoint(path)["model"]["weight"]
    start = whole.index(weight.numpy().tobytes())
    for place in range(start, start + 64 * 64 * 4, 501):
        flipped = bytes([whole[place] ^ 1])
        path.write_bytes(whole[:place] + flipped + whole[place + 1 :])
        with pytest.raises(ValueError, match="damaged"):
            load_checkpoint(path)
    for length in range(0, len(whole), 501):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="damaged"):
            load_checkpoint(path)


@pytest.mark.parametrize("kind", ["zip", "bare"])
def test_a_hostile_pickle_is_refused_and_nothing_in_it_runs(
    tmp_path, hostile, kind
):
    mark = hostile(tmp_path / "weights.pt", kind)
    with pytest.raises(ValueError, match="no checkpoint"):
        load_checkpoint(tmp_path / "weights.pt")
    assert not mark.exists()


def test_a_whole_model_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(ValueError, match="no checkpoint"):
        load_checkpoint(tmp_path / "model.pt")


def test_a_bare_tensor_is_no_checkpoint(tmp_path):
    torch.save(torch.ones(2), tmp_path / "tensor.pt")
    with pytest.raises(ValueError, match="holds a Tensor"):
        load_checkpoint(tmp_path / "tensor.pt")
