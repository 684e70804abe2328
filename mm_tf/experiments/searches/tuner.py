"""Runs a search: KerasTuner draws the values, and each trial is a run.

What a tuner of KerasTuner draws depends only on its seed and on the results, and a
run that has finished returns at once. So the tuner's own state is never saved: to
resume a search is to search again from the first trial.
"""

import math
import tempfile
import time

import keras_tuner
import rich.console
import rich.text
from keras_tuner.errors import FatalError

from mm_tf._text import first_line
from mm_tf.experiments.grids import worker
from mm_tf.experiments.grids.progress import how_far
from mm_tf.experiments.runs.folder import RunFolder
from mm_tf.experiments.runs.run import RunDivergedError, RunFailedError
from mm_tf.experiments.searches import space, trials
from mm_tf.experiments.searches.search import SearchFailedError

OBJECTIVE = "balanced_error"

# A trial that fails says nothing about the next one, so failures never end a search.
_NO_LIMIT = 10**9


def run_search(search):
    """Trains the trials of a search that have not finished.

    A trial that was stopped, even by `kill -9`, resumes from its own checkpoint. One
    that diverges is reported, and the search continues without it.
    """
    search.begin()
    console = rich.console.Console(highlight=False)
    with console.status("") as status, tempfile.TemporaryDirectory() as scratch:
        _Tuner(search, _Progress(console, status, search.trials), scratch).search()


def _oracle(search):
    oracles = {
        "random": keras_tuner.oracles.RandomSearchOracle,
        "bayesian": keras_tuner.oracles.BayesianOptimizationOracle,
        "hyperband": keras_tuner.oracles.HyperbandOracle,
        "grid": keras_tuner.oracles.GridSearchOracle,
    }
    hp = keras_tuner.HyperParameters()
    for dimension in search.dimensions:
        space.declare(hp, dimension)
    limit = {"max_trials": search.trials}
    if search.tuner == "hyperband":
        limit = {"max_epochs": search.config.epochs}
    return oracles[search.tuner](
        objective=keras_tuner.Objective(OBJECTIVE, "min"),
        hyperparameters=hp,
        seed=search.seed + 1,  # KerasTuner takes 0 for no seed.
        max_consecutive_failed_trials=_NO_LIMIT,
        **limit,
    )


class _FatalError(FatalError, SearchFailedError):
    """Ends KerasTuner's search."""


class _Tuner(keras_tuner.Tuner):
    """Trains each trial as a run in a folder of its own."""

    def __init__(self, search, progress, directory):
        oracle = _oracle(search)
        super().__init__(oracle, directory=directory)
        oracle.verbose = 0
        self._search = search
        self._progress = progress

    def run_trial(self, trial):
        """Returns the balanced error of a trial's run, infinity if it failed."""
        values = self._search.trial_values(trial.hyperparameters.values)
        self._progress.begin(values)
        error = math.inf
        try:
            config = self._search.trial_config(values)
            if trials.read_failure(config.run_folder) is None:
                result = RunFolder(config).finished_result() or self._trained(config)
                error = result.balanced_error
        except (RunDivergedError, worker.RunCrashedError) as failure:
            trials.write_failure(config.run_folder, values, first_line(failure))
        except (OSError, RunFailedError, ValueError) as failure:
            raise _FatalError(str(failure)) from None
        self._progress.end(error)
        return {OBJECTIVE: error}

    def on_trial_end(self, trial):
        """Ends a trial, as failed if it has no error."""
        # Raising in `run_trial`, KerasTuner's way, would print a trace of the stack.
        metrics = self.oracle.get_trial(trial.trial_id).metrics
        if metrics.get_last_value(OBJECTIVE) == math.inf:
            trial.status = "FAILED"
        super().on_trial_end(trial)

    def _trained(self, config):
        def look():
            self._progress.show(how_far(config))

        try:
            return worker.train(config, look)
        except worker.RunCrashedError as error:
            # Something else may have killed it, as for want of memory.
            self._progress.show(f"{error}; it is tried again")
            return worker.train(config, look)


class _Progress:
    """A line for each trial that ends and, at a terminal, the one under way."""

    def __init__(self, console, status, trials):
        self._console = console
        self._status = status
        self._total = f"/{trials}" if trials else ""
        self._trial = ""
        self._began = 0.0
        self._ended = 0
        self._best = math.inf

    def begin(self, values):
        """A trial of these values begins or resumes."""
        self._began = time.monotonic()
        self._trial = " ".join(f"{name}={value:g}" for name, value in values.items())
        self.show("begins")

    def show(self, state):
        """Shows what the trial is at."""
        self._status.update(rich.text.Text(f"{self._trial}: {state}", no_wrap=True))

    def end(self, error):
        """The trial has ended with this balanced error in %, or failed (infinity)."""
        self._ended += 1
        self._best = min(self._best, error)
        outcome = "failed" if error == math.inf else f"{error:.2f} %"
        best = f", best so far {self._best:.2f} %" if self._best < math.inf else ""
        seconds = time.monotonic() - self._began
        self._console.print(
            f"[{self._ended}{self._total}] {self._trial}: {outcome} ({seconds:.0f} s)"
            f"{best}",
            markup=False,
            soft_wrap=True,
        )
