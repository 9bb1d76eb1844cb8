"""The graph of a calculation: as a tree in the terminal, and as a figure.

program is its lines, such as "p = a * b; y = p + c"; graph has by name what it
made and began with, the output last: objects with a number, a grad, and their
parents, pairs of an object and its local gradient.
"""

from collections import defaultdict
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.tree import Tree
from torch import Tensor

Place = tuple[float, float]


def graph_tree(program: str, graph: dict[str, Any]) -> Tree:
    """Below each value its parents; behind it what its gradient adds up."""
    names, terms = _labels(program, graph), defaultdict(list)
    for node in reversed(names):
        for parent, local in node.parents:
            terms[parent].append(f"{node.grad:.0f}*{local:.0f}")

    def label(node: Any) -> str:
        sums = "".join(f"{' + '.join(terms[node])} = " if terms[node] else "")
        numbers = f"{node.number:.0f}, gradient {sums}{node.grad:.0f}"
        kind = "" if node.parents else "  (leaf)"
        return f"[bold]{names[node]}[/] = {numbers}{kind}"

    def hang(node: Any, branch: Tree) -> Tree:
        for parent in dict.fromkeys(parent for parent, _ in node.parents):
            hang(parent, branch.add(label(parent)))
        return branch

    output = next(reversed(names))
    return hang(output, Tree(label(output)))


def _labels(program: str, graph: dict[str, Any]) -> dict[Any, str]:
    """Each object with the line that made it, or with its name alone."""
    lines = {line.split(" = ")[0]: line for line in program.split("; ")}
    return {node: lines.get(name, name) for name, node in graph.items()}


def graph_figure(program: str, graph: dict[str, Any]) -> Figure:
    """Boxes from the leaves, on the left, to the output; arrows lead back."""
    names = _labels(program, graph)
    places = _places([*names])
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(
        "Numbers are made from left to right. Gradients walk back along the\n"
        "arrows, times the number on each; where arrows meet, add them up"
    )
    for node, place in places.items():
        parents = [parent for parent, _ in node.parents]
        for index, (parent, local) in enumerate(node.parents):
            bend = 0.35 * (-1) ** index if parents.count(parent) > 1 else 0
            _arrow(axes, (place, places[parent]), f"* {local:.0f}", bend)
        text = f"{names[node]}\n= {node.number:.0f}\ngradient {node.grad:.0f}"
        box = {"boxstyle": "round,pad=0.5", "fc": "white", "ec": "tab:blue"}
        axes.text(*place, text, ha="center", va="center", bbox=box)
    columns, rows = zip(*places.values(), strict=True)
    axes.set_xlim(-0.5, max(columns) + 0.5)
    axes.set_ylim(min(rows) - 0.6, max(rows) + 0.6)
    axes.set_axis_off()
    return figure


def _arrow(
    axes: Axes, ends: tuple[Place, Place], text: str, bend: float
) -> None:
    (x, y), (left, low) = ends
    style = {"arrowstyle": "-|>", "color": "tab:red", "shrinkA": 45}
    style |= {"shrinkB": 45, "connectionstyle": f"arc3,rad={bend}"}
    axes.annotate("", (left, low), (x, y), arrowprops=style)
    middle = ((x + left) / 2, (y + low) / 2 + 0.8 * bend)
    box = {"fc": "white", "ec": "none", "pad": 1}
    centre = {"ha": "center", "va": "center"}
    axes.text(*middle, text, color="tab:red", bbox=box, **centre)


def _places(nodes: list[Any]) -> dict[Any, Place]:
    """Each right of its parents, and a leaf close to what was made from it."""
    column = {}
    for node in nodes:  # parents come first
        before = [column[parent] for parent, _ in node.parents]
        column[node] = max(before, default=-1) + 1
    for leaf in (node for node in nodes if not node.parents):
        made = [n for n in nodes if any(leaf is p for p, _ in n.parents)]
        column[leaf] = min(column[node] for node in made) - 1
    places = {}
    for x in set(column.values()):
        above = [node for node in nodes if column[node] == x]
        above.sort(key=lambda node: bool(node.parents))  # leaves lowest
        for row, node in enumerate(above):
            places[node] = (x, row - (len(above) - 1) / 2)
    return places


def operations(output: Tensor | float) -> int:
    """How many operations autograd has noted behind a tensor; 0 for a number.

    The leaves count, too: each has a note of its own.
    """
    found, waiting = set(), [getattr(output, "grad_fn", None)]
    while waiting:
        note = waiting.pop()
        if note is not None and note not in found:
            found.add(note)
            waiting.extend(parent for parent, _ in note.next_functions)
    return len(found)
