"""Cases for lessons/checkpoint_demo.py."""

import torch

from lessons.checkpoint_demo import EMPTY
from shared.practice.cases import Cases, call

NOT_ASKED = {
    "begin": "one model and its optimizer; there is nothing to find out",
    "train": "the loop is train-cifar's subject",
    "train_and_save": "the lesson's exercise goes further",
    "resume": "Mistake 1 is about it, and the exercise goes further",
}


def adam_step() -> Cases:
    """Three numbers are remembered: how many steps there were, a mean of the
    gradients and a mean of their squares. Bring them up to date first.

    A mean keeps 0.9 (of squares: 0.999) of what it was, and takes the rest from
    the new gradient. They begin at 0, and are too small at first: divide them
    by 1 - 0.9**step and by 1 - 0.999**step. Remember them undivided.

    The weight moves against the mean, by lr * mean / (root + 1e-8), where root
    is the square root of the mean of squares. Return what is remembered, as a
    dictionary (step, exp_avg, exp_avg_sq), and then the new weight.
    """
    one, up = torch.tensor(1.0), torch.tensor(0.5)
    first = {"step": 1, "exp_avg": 0.1 * up, "exp_avg_sq": 0.001 * up**2}
    yield call(one, up, dict(EMPTY), 0.1), (first, torch.tensor(0.9))
    second = {
        "step": 2,
        "exp_avg": torch.tensor(-0.005),
        "exp_avg_sq": torch.tensor(0.00049975),
    }
    after = torch.tensor(0.9 + 0.1 * (0.005 / 0.19) / 0.5)
    yield call(torch.tensor(0.9), -up, dict(first), 0.1), (second, after)
    yield (
        call(one, 1000 * up, dict(EMPTY), 0.1),
        (
            {"step": 1, "exp_avg": 100 * up, "exp_avg_sq": 1000 * up**2},
            torch.tensor(0.9),
        ),
    )
    for gradient, after in ((0.0, 1.0), (1e-8, 0.95)):  # 1e-8: half a step
        grad = torch.tensor(gradient)
        means = {"exp_avg": 0.1 * grad, "exp_avg_sq": 0.001 * grad**2}
        yield (
            call(one, grad, dict(EMPTY), 0.1),
            ({"step": 1, **means}, torch.tensor(after)),
        )
    for lr, shape in ((0.1, (3,)), (0.001, (2, 3)), (0.03, (4, 1, 2))):
        weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([weight], lr)
        memory = dict(EMPTY)
        for _ in range(4):
            weight.grad, before = torch.randn_like(weight), weight.detach()
            arguments = before.clone(), weight.grad.clone(), memory, lr
            optimizer.step()
            kept = optimizer.state[weight]
            memory = {n: t.clone() for n, t in kept.items() if n != "step"}
            memory = {"step": int(kept["step"]), **memory}
            yield call(*arguments), (memory, weight.detach().clone())
