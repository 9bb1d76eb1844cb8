"""Times of matrix products, on a stand-in for a GPU."""

import torch

from lessons.device_demo import stopwatch, synchronise
from shared import timings

STAND_IN = torch.device("cpu:0")  # is the CPU, and isn't equal to "cpu"


def test_each_way_is_there_in_each_size_and_gives_nine_times():
    sizes, measured = timings.products(STAND_IN, 100, stopwatch, synchronise)
    assert sizes == [8, 64, 100]
    assert list(measured)[:3] == ["cpu", "cpu:0", "cpu:0, no wait"]
    assert list(measured)[3] == "cpu bfloat16"
    assert list(measured)[-1] == "with copies"
    for way in measured.values():
        assert [len(times) for times in way] == [9] * 3


def test_faster_is_said_only_where_the_middle_halves_are_apart(capsys):
    base = [[10.0, 11, 12, 13, 14, 15, 16, 17, 18]] * 3
    way = [
        [1.0, 2, 3, 4, 5, 6, 7, 99, 99],  # disturbed twice: still faster
        [9.0, 10, 13, 14, 15, 16, 17, 18, 19],
        [20.0] * 9,
    ]
    hasty = [[0.0] * 9] * 3
    measured = {"cpu": base, "gpu": way, "gpu, no wait": hasty}
    timings.say_faster([8, 64, 256], measured)
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(
        "gpu: faster at n = 8, slower at n = 256. Against cpu"
    )
