"""A training run: all that is not the subject of the lesson that trains.

The lesson's loop stays PyTorch's own. It asks a Training for the epochs and
the batches, and tells it each loss and what each epoch came to. A Training
never calls the model, computes no loss and takes no step.
"""

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from typer import BadParameter, Context

from shared import console
from shared.board import board, log_settings
from shared.datasets.examples import Batch, Examples
from shared.device import pick_autocast, pick_device
from shared.training import distributed, resume, run_folder

FORMATS = {"epoch": "d", "loss": ".4f", "accuracy": ".1%"}
FORMATS |= {"error": ".2f", "seconds": ".1f"}
RAN_AWAY = 10  # times the loss of the very first batch


class Training:
    """One training run: new, or going on where it was stopped."""

    def __init__(
        self,
        context: Context,
        look: str,
        chosen_by: str | None = None,
        every: int = 1,
    ) -> None:
        """look: what there is to see in TensorBoard.

        chosen_by: "val_loss" where that chooses the best epoch, not accuracy.
        Of few held-out images it is finer: many epochs have the same accuracy.
        every: print each so many epochs, and the first and last, not all.
        """
        self._every = every
        self._context, self._look = context, look
        self._chosen_by = chosen_by
        self._lesson = resume.lesson(context)
        self.settings = resume.settings(context)
        self.device = pick_device(context.params["device"])
        self.folder, kept = context.obj or (None, {})
        self.history: list[run_folder.Row] = kept.get("history", [])
        self.step: int = kept.get("step", 0)  # optimizer steps until now
        self._first_loss: float | None = kept.get("first_loss")
        self._stack = ExitStack()

    def __enter__(self) -> "Training":
        joined = distributed.together(self.device)
        self.device = self._stack.enter_context(joined)
        self.autocast = pick_autocast(
            self.device, self.settings.get("precision", "float32")
        )
        return self

    def __exit__(self, kind: type | None, *error: Any) -> bool | None:
        if kind is KeyboardInterrupt and self.folder:
            if (self.folder / "last.pt").exists():
                words = self._lesson, "--resume", console.short(self.folder)
                again = console.command("python", "cli.py", *words)
                console.warn(f"All whole epochs are kept. Go on: {again}")
            else:
                console.warn("No epoch is finished: nothing to resume.")
        return self._stack.__exit__(kind, *error)

    def begin(self, *sets: Examples | None, **parts: Any) -> None:
        """Open the run's folder; an earlier run gives its parts back.

        sets: to train on, to choose by, to test with. A part has a state_dict
        (model, optimizer, scheduler); every checkpoint will hold it.
        """
        size, count = self.settings["batch_size"], len(sets[0])
        if size > count:
            problem = (
                f"{size} is more than the {count:,} training {sets[0].unit}."
            )
            raise BadParameter(problem, param_hint="--batch-size")
        self._about = {"made_by": resume.made_by(self._context)}
        self._about |= run_folder.about(self.settings, *sets)
        if self._chosen_by:
            self._about["chosen_by"] = self._chosen_by
        self._parts = parts
        if self.folder:
            resume.give_back(self._context, self._about, parts)
        place = distributed.place(self._context.params["logdir"], self.folder)
        logdir, folder = self._stack.enter_context(place)
        opened = board(self._lesson, logdir, self._look, folder, self.step + 1)
        self.writer = self._stack.enter_context(opened)
        self.folder = Path(self.writer.log_dir)
        self._save()

    def parallel(self, model: nn.Module) -> nn.Module:
        """What the loop calls: the model or, under torchrun, DDP around it."""
        return distributed.parallel(model, lambda: self._share)

    def epochs(self) -> Iterator[int]:
        """The numbers of the epochs still to be trained; the first is 1."""
        for row in self.history:
            self._print(row)
        for epoch in range(len(self.history) + 1, self.settings["epochs"] + 1):
            self._loss = torch.zeros((), device=self.device)
            self._examples = 0
            yield epoch

    def batches(self, examples: Examples, epoch: int) -> Iterator[Batch]:
        """Shuffled batches and a progress bar; under torchrun, parts of them.

        Chance (their order; dropout) depends on seed and epoch alone, so a
        run that goes on meets what it would have met.
        """
        seed = self.settings["seed"] * 1_000_003 + epoch
        torch.manual_seed(seed)
        chance = torch.Generator().manual_seed(seed)
        name = f"epoch {epoch} of {self.settings['epochs']}"
        started = time.perf_counter()
        with console.progress(examples.unit) as bar:
            task = bar.add_task(name, total=len(examples))
            for batch in examples.batches(self.settings["batch_size"], chance):
                self._batch = len(batch[1])
                bar.advance(task, self._batch)
                *mine, self._share = distributed.part(*batch)
                yield tuple(mine)
        self._seconds = time.perf_counter() - started

    def track(self, loss: Tensor) -> None:
        """Count a step and its loss, a mean; every 100th is on the curve."""
        self.step += 1
        self._examples += self._batch
        self._loss += loss.detach() * (self._share * self._batch)
        if self._first_loss is None:
            self._first_loss = loss.item()
        if self.step % 100 == 0:
            self.writer.add_scalar("loss/batch", loss.item(), self.step)

    def end_epoch(self, **measured: float) -> None:
        """Print and log the epoch's row, and keep a checkpoint.

        Wants val_loss and, where there is one, val_accuracy. Ends the command
        where the loss has run away, to nan or far above where it began.
        """
        loss = distributed.total(self._loss) / self._examples
        row = {"epoch": len(self.history) + 1, "train_loss": loss} | measured
        group = self._parts["optimizer"].param_groups[0]
        finite = all(map(math.isfinite, row.values()))
        if not finite or loss > RAN_AWAY * self._first_loss:
            losses = f"{loss:.4g} in training, {row['val_loss']:.4g} held out"
            began = f"in the first batch it was {self._first_loss:.4g}"
            problem = f"In epoch {row['epoch']} the loss ran away: {losses}"
            lr = group.get("initial_lr", group["lr"])  # before any schedule
            tame = min(lr / 10, resume.default(self._context, "lr"))
            console.fail(f"{problem}; {began}.", f"try --lr {tame:g}")
        self.history.append(row | {"seconds": self._seconds})
        self._log(train_loss=loss, **measured, lr_optimizer=group["lr"])
        self._save()
        self._print(self.history[-1])

    def load_best(self) -> run_folder.Row:
        """Give the model the weights of the best epoch; return its row."""
        self.step += 1  # the report's own: a run that goes on drops it
        if distributed.RANK:
            return self.history[-1]
        kept = run_folder.read(self.folder, "best.pt", "last.pt")
        self._parts["model"].load_state_dict(kept["model"])
        return kept["history"][-1]

    def end(self, **tested: float) -> None:
        """Log what the test set said, with the settings; say what is kept."""
        self._log(**tested)
        chosen = run_folder.best(self.history, self._chosen_by)
        results = chosen | tested
        log_settings(self.writer, self.settings, results, self.step)
        run_folder.describe(self.folder, self._about, self.history, **tested)
        files = "last.pt, best.pt, metrics.csv and run.json"
        console.say(f"\nKept: {files} in\n{console.short(self.folder)}")

    def _save(self) -> None:
        kept = {name: part.state_dict() for name, part in self._parts.items()}
        kept |= self._about | {"history": self.history, "step": self.step}
        kept["first_loss"] = self._first_loss
        if self.history:
            run_folder.save(self.folder, kept)
        run_folder.describe(self.folder, self._about, self.history)

    def _log(self, **measured: float) -> None:
        for name, value in measured.items():
            tag = "/".join(reversed(name.split("_")))  # loss/val for val_loss
            self.writer.add_scalar(tag, value, self.step)

    def _print(self, row: run_folder.Row) -> None:
        if row["epoch"] == 1:
            names = [name.replace("_", " ") for name in row]
            columns = {name: FORMATS[name.split()[-1]] for name in names}
            self._print_row = console.growing_table(columns)
        ends = 1, self.settings["epochs"]
        if row["epoch"] in ends or row["epoch"] % self._every == 0:
            self._print_row(*row.values())
