"""How far a grid of runs is: a line for each run, a bar, and the time left."""

import datetime
import time

from rich import progress
from rich.console import Console
from rich.table import Column

from mm_tf import _text
from mm_tf.experiments.runs.folder import (
    FIRST_STAGE,
    FIRST_STAGE_WEIGHTS,
    RunFolder,
)

# An epoch of pre-training shows each image in four turns.
_TURNS = 4


def name_of(config):
    """Returns a run's name in a line of progress."""
    return f"{config.row.title}, {config.setting}, seed {config.seed}"


def how_far(config):
    """Says in words how far a run is, from its folder."""
    pretrained, epochs = _trained(config)
    if pretrained and not epochs:
        return f"epoch {pretrained} of {config.first_stage_epochs} of the first stage"
    return f"epoch {epochs} of {config.last_stage_epochs}" if epochs else "begins"


class Progress:
    """A line for each run that ends and, at a terminal, a bar below them.

    Work is counted in images that pass through the network. Use it in a `with`.
    """

    def __init__(self, total, left, console=None):
        self._console = console or Console(highlight=False)
        self._bar = progress.Progress(
            progress.BarColumn(bar_width=20),
            progress.MofNCompleteColumn(),
            progress.TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            console=self._console,
            expand=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total, completed=total - len(left))
        self._total = total
        self._left = {config: _work(config) for config in left}
        self._began = time.monotonic()
        self._begins: dict = {}  # When each run began.
        self._done = 0

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *_):
        self._bar.stop()

    def report(self, line):
        """Prints a line above the bar."""
        self._console.print(_text.printable(line), markup=False, soft_wrap=True)

    def describe(self, state):
        """Says in the bar what happens now."""
        description = f"{self.time_left}  {state}".strip()
        self._bar.update(self._task, description=description)

    def begin(self, config):
        """A run begins or resumes."""
        self._begins[config] = time.monotonic()
        # What it has from before it was stopped takes no time now.
        self._left[config] = _work(config, *_trained(config))
        self.describe(f"{name_of(config)}: {how_far(config)}")

    def look(self, configs):
        """Looks how far runs are; one that is new here begins with its folder."""
        for config in configs:
            if config not in self._begins and RunFolder(config).path.exists():
                self.begin(config)
            left = _work(config, *_trained(config))
            if left < self._left[config]:
                self._done += self._left[config] - left
                self._left[config] = left
                self.describe(f"{name_of(config)}: {how_far(config)}")

    def finish(self, config, outcome):
        """A run has its result."""
        self._done += self._left.pop(config)
        self._end(config, outcome)

    def fail(self, config, reason):
        """A run failed: it says nothing about the time of the others."""
        del self._left[config]
        self._end(config, f"failed: {reason}")

    def _end(self, config, outcome):
        self._bar.advance(self._task)
        number = self._total - len(self._left)
        now = time.monotonic()
        seconds = now - self._begins.pop(config, now)
        self.report(
            f"[{number:{len(str(self._total))}}/{self._total}] {name_of(config)}: "
            f"{outcome} ({_duration(seconds)}) {self.time_left}".rstrip()
        )

    @property
    def time_left(self):
        """An estimate in words, "" before there is one."""
        left = sum(self._left.values())
        if not (self._done and left):
            return ""
        seconds = (time.monotonic() - self._began) * left / self._done
        return f"about {_duration(seconds)} left"


def _trained(config):
    """The epochs that a run's folder has: (of pre-training, of training)."""
    folder = RunFolder(config)
    checkpoints = (folder.path / FIRST_STAGE).glob("epoch*.npz")
    pretrained = [int(path.name[len("epoch") :].split("-")[0]) for path in checkpoints]
    if (folder.path / FIRST_STAGE_WEIGHTS).exists():
        pretrained = [config.first_stage_epochs]
    return max(pretrained, default=0), folder.epochs


def _work(config, pretrained=0, epochs=0):
    """The work that a run has left after some epochs."""
    # Custom data are counted by the run: an epoch is the unit, for all runs on them.
    images = int(config.class_counts.sum()) if config.has_class_counts else 1
    first = config.first_stage_epochs - pretrained
    if epochs or config.first_stage:
        first = 0
    if config.row.pretraining == "rotation":
        first *= _TURNS
    return images * (first + config.last_stage_epochs - epochs)


def _duration(seconds):
    return str(datetime.timedelta(seconds=round(seconds)))
