"""Each exercise's cases, tried on the lesson's own code, and on broken code."""

import ast
import inspect
import json
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
import torch
from flask import Flask
from torch.utils.data import Dataset

from lessons import LESSONS
from shared.options import ROOT
from shared.practice.cases import judge

FILES = [name.replace("-", "_") for name in LESSONS]


def by_hand(file: str) -> list[str]:
    """The public functions and classes of a lesson's section "By hand"."""
    source = (ROOT / "lessons" / f"{file}.py").read_text(encoding="utf-8")
    lines = source.splitlines()
    titles = [i for i, line in enumerate(lines, 1) if line.startswith("# ----")]
    starts = [i for i in titles if lines[i - 1].startswith("# ---- By hand")]
    if not starts:
        return []
    end = next(i for i in titles if i > starts[0])
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [
        node.name
        for node in ast.parse(source).body
        if isinstance(node, kinds) and starts[0] < node.lineno < end
    ]


def exercise(file: str) -> Any:
    path = ROOT / "lessons" / "exercises" / f"{file}.py"
    assert path.exists(), f"{file} has no cases: write {path}"
    return import_module(f"lessons.exercises.{file}")


def asked(file: str) -> list[str]:
    """The generators of an exercise, in the order in which they stand."""
    module = exercise(file)
    source = ast.parse(inspect.getsource(module))
    functions = [n.name for n in source.body if isinstance(n, ast.FunctionDef)]
    return [name for name in functions if not name.startswith("_")]


PAIRS = [(file, name) for file in FILES for name in asked(file)]


@pytest.mark.parametrize("file", FILES)
def test_each_by_hand_function_has_cases_or_a_reason_why_not(file):
    excused = getattr(exercise(file), "NOT_ASKED", {})
    assert sorted([*asked(file), *excused]) == sorted(by_hand(file))
    assert all(excused.values()), "say why"


@pytest.mark.parametrize(("file", "name"), PAIRS)
def test_the_lesson_passes_its_own_cases(file, name):
    lesson = import_module(f"lessons.{file}")
    assert judge(getattr(lesson, name), getattr(exercise(file), name)) >= 3


@pytest.mark.parametrize(("file", "name"), PAIRS)
def test_the_cases_refuse_what_is_a_little_off(file, name):
    right = getattr(import_module(f"lessons.{file}"), name)
    cases = getattr(exercise(file), name)
    for off in (lambda x: x + 1, lambda x: 1.01 * x + 0.01, torch.zeros_like):
        with pytest.raises(AssertionError):
            judge(broken(right, off), cases)


def broken(function: Callable[..., Any], off: Callable[[Any], Any]) -> Any:
    """The same function, with one of its results changed by off."""

    def wrong(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        plain = not isinstance(result, Dataset) and not callable(result)
        if isinstance(function, type) and plain:
            # an object: its first number is off
            numbers = [n for n, v in vars(result).items() if type(v) is float]
            value = torch.tensor(getattr(result, numbers[0]))
            setattr(result, numbers[0], off(value).item())
            return result
        return spoiled(result, off)

    return wrong


def spoiled(result: Any, off: Callable[[Any], Any]) -> Any:
    """Of a tuple, list or dictionary the last is changed; nothing stays so.

    A dictionary of words is changed in its keys.
    """
    if isinstance(result, Iterator):
        return (spoiled(part, off) for part in result)
    if isinstance(result, tuple | list):
        last = (spoiled(part, off) for part in result[-1:])
        return type(result)([*result[:-1], *last])
    if isinstance(result, str):
        return result + "?"
    if isinstance(result, bytes):
        numbers = torch.tensor([*result], dtype=torch.uint8)
        return bytes(off(numbers).byte().tolist())
    if isinstance(result, dict):
        if all(isinstance(value, str) for value in result.values()):
            return {spoiled(key, off): value for key, value in result.items()}
        *_, name = result
        return {**result, name: spoiled(result[name], off)}
    if isinstance(result, Dataset):
        return SpoiledDataset(result, off)
    if isinstance(result, Flask):
        return answering_off(result, off)
    if callable(result):
        return calling_off(result, off)
    if isinstance(result, int | float):
        return off(torch.tensor(result)).item()
    return result if result is None else off(result)


def answering_off(app: Flask, off: Callable[[Any], Any]) -> Flask:
    """The same application: the numbers in its JSON answers are off."""

    @app.after_request
    def spoil(answer: Any) -> Any:
        found = answer.get_json(silent=True) or {}
        if "probabilities" in found:
            numbers = off(torch.tensor(found["probabilities"]))
            found["probabilities"] = numbers.tolist()
            answer.data = json.dumps(found)
        return answer

    return app


def calling_off(module: Any, off: Callable[[Any], Any]) -> Any:
    """The same object, of a class of its own: what a call gives is off."""
    kind = type(module)

    def call(self: Any, *inputs: Any) -> Any:
        return off(kind.__call__(self, *inputs))

    module.__class__ = type("Off", (kind,), {"__call__": call})
    return module


class SpoiledDataset(Dataset):
    """A Dataset whose labels, or whole examples, are spoiled by off."""

    def __init__(self, dataset: Dataset, off: Callable[[Any], Any]) -> None:
        self.dataset, self.off = dataset, off

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return spoiled(self.dataset[index], self.off)


def test_every_hint_is_a_sentence():
    for file, name in PAIRS:
        hints = getattr(exercise(file), name).__doc__.split("\n\n")
        assert all(hint.strip().endswith((".", "?")) for hint in hints), name
