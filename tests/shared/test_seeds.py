import torch

from shared.seeds import over_seeds, spread


def test_everything_is_measured_with_every_seed():
    def measure(name: str, seed: int) -> torch.Tensor:
        return torch.tensor([len(name), seed])

    results = over_seeds(measure, ["a", "bc"], range(3, 5))
    assert list(results) == ["a", "bc"]
    assert results["bc"].tolist() == [[2, 3], [2, 4]]


def test_spread_is_median_smallest_and_largest():
    values = torch.tensor([3.0, 1.0, 9.0, 4.0])
    assert spread(values, ".1f") == "3.5 (1.0 to 9.0)"
