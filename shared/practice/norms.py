"""What norm-demo and its cases compare norm layers by."""

import torch
from torch import Tensor, nn


def states(norm: nn.Module, batches: list[Tensor]) -> dict[str, Tensor]:
    """Outputs and state_dict after each batch in training, then eval outputs.

    The batches come again for the latter. Only numbers are returned, copied;
    the layer is left in eval mode.
    """
    named = {}
    with torch.no_grad():
        for i, batch in enumerate(batches):
            named[f"train {i}"] = norm.train()(batch).clone()
            for name, tensor in norm.state_dict().items():
                named[f"{name} {i}"] = tensor.clone()
        for i, batch in enumerate(batches):
            named[f"eval {i}"] = norm.eval()(batch).clone()
    return named
