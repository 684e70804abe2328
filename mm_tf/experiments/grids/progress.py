"""How far a grid of runs is: a line for each run, a bar, and the time left."""

import datetime
import re
import time
from typing import Any

# The beginnings of two lines that a run prints around its pre-training: by them its
# epochs are told from the run's own.
PRETRAINING_BEGINS = "Pre-training"
PRETRAINING_IS_OVER = "Pre-trained backbone"

# Of an image in an epoch of pre-training. `mm_tf.pretraining` has the same number;
# importing it would import Keras.
TURNS = 4

_EPOCH = re.compile(r"Epoch (\d+)/\d+")


class Work:
    """How much work a run is, and how far it is by the lines that it prints.

    Work is counted in images that pass through the network.

    Attributes:
        total: All of it.
        reached: What is behind it, by the last line.
    """

    def __init__(self, config):
        # Images of one's own are counted by the run, not here: an epoch then is the
        # unit, and the same for all runs on them.
        self._images = int(config.class_counts.sum()) if config.knows_counts else 1
        epochs = config.hyperparameters.get("pretraining_epochs", 0)
        self._pretraining = TURNS * self._images * epochs
        self._is_pretraining = False
        self._began: float | None = None
        self._first: int | None = None
        self.total = self._pretraining + self._images * config.epochs
        self.reached = 0

    def read(self, line):
        """Takes a line that the run printed; returns whether an epoch begins."""
        match = _EPOCH.fullmatch(line)
        if line.startswith(PRETRAINING_BEGINS):
            self._is_pretraining = True
        elif line.startswith(PRETRAINING_IS_OVER):
            self.reached = self._pretraining
            if self._first is None:
                # Keras prints no epochs where there is one alone.
                self._first = 0 if self._is_pretraining else self._pretraining
            self._is_pretraining = False
        elif match is not None:
            epochs = int(match[1]) - 1
            if self._is_pretraining:
                self.reached = TURNS * self._images * epochs
            else:
                self.reached = self._pretraining + self._images * epochs
            if self._first is None:
                # A run that was stopped goes on: the rest alone is done here.
                self._first = self.reached
        if self._began is None and (self._is_pretraining or match):
            self._began = time.monotonic()
        return match is not None

    @property
    def done_here(self):
        """The work since the run began, or went on."""
        return self.reached - (self._first or 0)

    @property
    def seconds(self):
        """The time of that work so far, without what came before the first epoch."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def end(self):
        """The run has its result."""
        self.reached = self.total


class Progress:
    """A line for each finished run and, at a terminal, a bar below them.

    Use it in a `with`.

    Attributes:
        time_left: An estimate in words, "" before there is one.
    """

    def __init__(self, total, left, console=None):
        from rich import progress
        from rich.console import Console
        from rich.table import Column

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
        self._total = total
        # By config: those that are not finished, and when those under way began.
        self._left = {config: Work(config) for config in left}
        self._began: dict[Any, float] = {}
        self._names: dict[Any, str] = {}
        self._done = 0
        self._seconds = 0.0
        self.time_left = ""
        self._task = self._bar.add_task("", total=total, completed=total - len(left))

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *_):
        self._bar.stop()

    def tell(self, line):
        """Prints a line above the bar."""
        self._console.print(line, markup=False, soft_wrap=True)

    def read(self, data):
        """Data are read, before any run."""
        self._describe(data, "is read")

    def begin(self, config, name):
        """A run begins."""
        self._names[config] = name
        self._began[config] = time.monotonic()
        self._describe(name, "begins")

    def show(self, config, line):
        """Takes a line that a run under way printed, and shows it in the bar."""
        if self._left[config].read(line):
            self._estimate()
        self._describe(self._names[config], line)

    def finish(self, config, outcome):
        """A run under way has its result."""
        work = self._left.pop(config)
        work.end()
        self._done += work.done_here
        self._seconds += time.monotonic() - self._began[config]
        self._end(config, outcome)

    def fail(self, config, reason):
        """A run under way failed: nothing can be said of the others by it."""
        del self._left[config]
        self._end(config, f"failed: {reason}")

    def _end(self, config, outcome):
        duration = _duration(time.monotonic() - self._began.pop(config))
        self._estimate()
        self._bar.advance(self._task)
        number = self._total - len(self._left)
        self.tell(
            f"[{number:{len(str(self._total))}}/{self._total}] {self._names[config]}: "
            f"{outcome} ({duration}) {self.time_left}".rstrip()
        )

    def _estimate(self):
        running = [self._left[config] for config in self._began]
        seconds = self._seconds + sum(work.seconds for work in running)
        done = self._done + sum(work.done_here for work in running)
        left = sum(work.total - work.reached for work in self._left.values())
        # Those that run side by side take their time together.
        self.time_left = time_left_text(seconds / max(1, len(running)), done, left)

    def _describe(self, name, state):
        description = f"{self.time_left}  {name}: {state}".strip()
        self._bar.update(self._task, description=description)


def time_left_text(seconds, done, left):
    """Returns an estimate of the time left, in words."""
    return f"about {_duration(seconds * left / done)} left" if done and left else ""


def _duration(seconds):
    return str(datetime.timedelta(seconds=round(seconds)))
