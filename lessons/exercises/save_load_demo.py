"""Cases for lessons/save_load_demo.py."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from shared.practice.cases import Cases, call, whole

NOT_ASKED = {
    "digit_net": "it puts four layers in a row, and nothing is to be found out",
    "load": "it is two calls of PyTorch; load_state is what one of them does",
    "shares_read": "it measures what was loaded, and loads nothing",
}


def load_state() -> Cases:
    """Compare the names first. model.state_dict() has the model's, state the
    file's: what is only in one of them goes into one of the two lists.

    Nothing is copied into model.state_dict(): its tensors share their numbers
    with the model, and what you write into one of them is in the model.

    tensor.copy_(other) writes the numbers of other into tensor, and stretches a
    single one over all of it. Are the shapes equal? Count tensor.numel().
    """
    yield _case(nn.Linear(2, 1), {"weight": whole(1, 2), "bias": whole(1)})
    yield _case(nn.Linear(2, 1), {"bias": whole(1)})
    yield _case(nn.Linear(2, 1), {"weight": whole(1, 2), "bais": whole(1)})
    norm = nn.BatchNorm1d(3)  # with buffers, one of them of whole numbers
    norm(torch.randn(5, 3))
    yield _case(nn.BatchNorm1d(3), norm.state_dict())
    yield _case(nn.Linear(2, 3), {"weight": whole(2, 3).T, "bias": whole(3)})
    doubles = {n: t.double() for n, t in nn.Linear(2, 3).state_dict().items()}
    yield _case(nn.Linear(2, 3), doubles)  # a float32 model stays one
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight  # one tensor under two names
    yield _case(tied, deepcopy(tied).state_dict())
    deep = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Sequential(nn.Linear(4, 2)))
    yield _case(deep, deepcopy(deep).state_dict() | {"2.weight": whole(2)})


def _case(model: nn.Module, state: dict[str, Tensor]) -> tuple[Any, Any]:
    """A call, and a look at whether it did what PyTorch does."""
    twin = deepcopy(model)
    return call(model, state), _as_pytorch(model, twin, state)


def _as_pytorch(
    model: nn.Module, twin: nn.Module, state: dict[str, Tensor]
) -> Callable[[tuple[list[str], list[str], Tensor]], None]:
    keys = twin.load_state_dict(state, strict=False)
    wanted = twin.state_dict()
    count = sum(t.numel() for name, t in wanted.items() if name in state)

    def look(result: tuple[list[str], list[str], Tensor]) -> None:
        missing, unexpected, filled = result
        assert sorted(missing) == sorted(keys.missing_keys), missing
        assert sorted(unexpected) == sorted(keys.unexpected_keys), unexpected
        torch.testing.assert_close(torch.as_tensor(filled), torch.tensor(count))
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(tensor, wanted[name], rtol=0, atol=0)

    return look
