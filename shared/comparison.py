"""Which examples does only the network get right, which only a baseline?

Both are tried on the same examples, so what both know and what neither knows
says nothing about which is better; the rest does.
"""

import math

from torch import Tensor

from shared import console


def verdict(ours: int, theirs: int) -> str:
    """Of examples that only one gets right: ours, theirs. Or is it chance?"""
    if abs(ours - theirs) <= 2 * math.sqrt(ours + theirs):  # as with coins
        return "tied" if ours == theirs else "too close to call"
    return "ahead" if ours > theirs else "behind"


def compare(
    guesses: dict[str, Tensor], predictions: Tensor, truth: Tensor, unit: str
) -> None:
    """Print what each baseline gets right beside the network; all (N,).

    unit: what the examples are called.
    """
    ours, rows = predictions == truth, []
    for name, found in guesses.items():
        theirs = found == truth
        network, other = (ours & ~theirs).sum(), (theirs & ~ours).sum()
        share = f"{theirs.double().mean():.2%}"
        said = verdict(network.item(), other.item())
        rows.append((name, share, network.item(), other.item(), said))
    titles = ["baseline", "right", "only net", "only it", "the network is"]
    console.table(titles, rows)
    name, _, one, other, _ = rows[-1]
    console.say(
        f"only net, only it: {unit} that only the network, only the baseline "
        "gets right. By chance alone, about once in 20, they are further apart "
        f"than 2 * the root of their sum ({name}: {abs(one - other)} apart, "
        f"2 * the root of {one + other} is {2 * math.sqrt(one + other):.1f})."
    )
    ahead = [name for name, *_, said in rows if said == "ahead"]
    behind = [name for name, *_, said in rows if said == "behind"]
    close = [name for name, *_ in rows if name not in ahead + behind]
    parts = {"beats": ahead, "loses to": behind, "can't be told from": close}
    said = [f"{verb} {_listed(n)}" for verb, n in parts.items() if n]
    console.say(f"So the network {', and '.join(said)}.")


def _listed(names: list[str]) -> str:
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last
