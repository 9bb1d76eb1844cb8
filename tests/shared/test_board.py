import errno
import os
import sys
from pathlib import Path

import pytest
import typer

from shared.board import board, tensorboard_command


def test_a_run_is_one_folder_even_twice_in_a_second(
    tmp_path, read_events, capsys
):
    for value in (1, 2, 3):
        with board("some-demo", tmp_path, "SCALARS: a line") as writer:
            writer.add_scalar("group/name", value, 5)
    runs = sorted((tmp_path / "some-demo").iterdir())
    assert len(runs) == 3
    logged = [read_events(run).Scalars("group/name")[-1] for run in runs]
    assert {event.value for event in logged} == {1, 2, 3}
    said = capsys.readouterr().out
    assert str(tmp_path) in said.replace("\n", "")
    assert "SCALARS: a line" in said


def test_a_resumed_run_has_one_curve(tmp_path, read_events):
    with board("some-demo", tmp_path, "") as writer:
        for step in range(1, 8):
            writer.add_scalar("loss/train", step, step)
    folder = Path(writer.log_dir)
    with board("some-demo", tmp_path, "", folder, first_step=5) as writer:
        for step in range(5, 10):
            writer.add_scalar("loss/train", 10 * step, step)
    events = read_events(folder).Scalars("loss/train")
    assert [event.step for event in events] == list(range(1, 10))
    assert [event.value for event in events] == [1, 2, 3, 4, 50, 60, 70, 80, 90]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, ""), typer.Exit),
        (OSError(errno.EIO, ""), OSError),
        (KeyError(), KeyError),
    ],
)
def test_only_a_full_disk_is_explained_and_what_was_logged_is_kept(
    tmp_path, read_events, only_run, error, expected
):
    with pytest.raises(expected), board("some-demo", tmp_path, "") as writer:
        writer.add_scalar("group/name", 1, 1)
        raise error
    events = read_events(only_run(tmp_path, "some-demo"))
    assert events.Scalars("group/name")[-1].value == 1


def test_ctrl_c_says_where_the_logs_are(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt), board("some-demo", tmp_path, ""):
        raise KeyboardInterrupt
    said = capsys.readouterr().err
    assert f"Stopped. What was logged until now is in {tmp_path}" in said


def test_over_ssh_the_tunnel_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    for port, words in (("22", ""), ("2222", "-p 2222 ")):
        connection = f"192.0.2.1 50000 198.51.100.7 {port}"
        monkeypatch.setenv("SSH_CONNECTION", connection)
        with board("some-demo", tmp_path, "look"):
            pass
        tunnel = f"ssh -L 6006:localhost:6006 {words}ada@198.51.100.7"
        said = f"Before, on your own machine: {tunnel}\nOpen the address"
        assert said in capsys.readouterr().out
    monkeypatch.delenv("SSH_CONNECTION")
    with board("some-demo", tmp_path, "look"):
        pass
    assert "ssh -L" not in capsys.readouterr().out


def test_the_command_is_ready_to_paste(tmp_path, monkeypatch):
    folder = tmp_path / "my logs"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: "/somewhere/tensorboard")
    quoted = '"my logs"' if os.name == "nt" else "'my logs'"
    assert tensorboard_command(folder) == f"tensorboard --logdir {quoted}"
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert sys.executable in tensorboard_command(folder)
