"""--resume: the options of every lesson that trains, and what they refuse.

A run that goes on keeps its settings: they become the defaults of all other
options. So the lesson's own arguments (lr, seed, …) are right either way, as
if the first command line had been typed again.
"""

import inspect
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from shared.console import fail, lesson_name, say, short
from shared.training import run_folder

CONTROLS = ("run_folder", "resume", "download", "device", "logdir")
FORMAT = 3  # of the checkpoints; raise it when older ones no longer fit


def _recall(
    context: typer.Context,
    parameter: typer.CallbackParam,
    value: Any,
) -> Any:
    """Called for each of the three options below: act once all are known."""
    known = context.params | {parameter.name: value}
    if not {"run_folder", "resume", "logdir"} <= known.keys():
        return value
    folder = known["run_folder"]
    if known["resume"]:
        folder = folder or run_folder.newest(known["logdir"] / lesson(context))
        kept = run_folder.read(folder, "last.pt", "best.pt")
        if kept.get("made_by") != made_by(context):
            _refuse(context, folder)
        context.obj, context.default_map = (folder, kept), kept["settings"]
    elif folder:
        problem = "a run's folder goes with --resume."
        raise typer.BadParameter(problem, param_hint="RUN")
    return value


_FIRST = {"is_eager": True, "callback": _recall}  # before all other options
_RUN = "With --resume: go on with this run instead."
_RESUME = "Go on after the last whole epoch of the newest run."
_LOGDIR = {"help": "Folder for TensorBoard logs.", "show_default": "logs"}
RunFolder = Annotated[
    Path | None,
    typer.Argument(metavar="RUN", help=_RUN, **_FIRST),
]
Resume = Annotated[bool, typer.Option("--resume", help=_RESUME, **_FIRST)]
LogDir = Annotated[Path, typer.Option(**_LOGDIR, **_FIRST)]


def lesson(context: typer.Context) -> str:
    return lesson_name(
        inspect.getfile(inspect.unwrap(context.command.callback))
    )


def default(context: typer.Context, name: str) -> Any:
    """What an option is where nobody says otherwise."""
    options = context.command.params
    return next(option.default for option in options if option.name == name)


def made_by(context: typer.Context) -> str:
    return f"{lesson(context)}, format {FORMAT}"


def _refuse(context: typer.Context, folder: Path) -> NoReturn:
    name = lesson(context)
    problem = f"{folder} was made by an earlier {name}, or by another lesson."
    fail(problem, f"start a new run: python cli.py {name}")


def settings(context: typer.Context) -> dict[str, Any]:
    """All options but the CONTROLS.

    Raises BadParameter where one contradicts the run that goes on: of its
    settings only the number of epochs may change.
    """
    ours = {n: v for n, v in context.params.items() if n not in CONTROLS}
    folder, kept = context.obj or (None, {"settings": ours})
    if kept["settings"].keys() != ours.keys():
        _refuse(context, folder)
    for name, value in kept["settings"].items():
        if name != "epochs" and ours[name] != value:
            option = f"--{name.replace('_', '-')}"
            problem = f"This run was started with {value}, not {ours[name]}"
            message = f"{problem}: leave {option} out to resume it."
            raise typer.BadParameter(message, param_hint=option)
    return ours


def give_back(
    context: typer.Context,
    about: dict[str, Any],
    parts: dict[str, Any],
) -> None:
    """Load what was kept into the parts; end the command where it can't be.

    about: the examples that this command found, and their classes.
    """
    folder, kept = context.obj
    for what in ("data", "examples", "classes"):
        if kept[what] != about[what]:
            problem = f"This run began with {what} {kept[what]}"
            problem = f"{problem}; now there are {about[what]}."
            fail(problem, f"start a new run: python cli.py {lesson(context)}")
    try:
        for name, part in parts.items():
            part.load_state_dict(kept[name])
    except (KeyError, RuntimeError, ValueError):  # of another shape, say
        _refuse(context, folder)
    say(f"Going on after epoch {len(kept['history'])} of {short(folder)}")
