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
        _Tuner(search, console, status, scratch).search()


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

    def __init__(self, search, console, status, directory):
        super().__init__(_oracle(search), directory=directory)
        self.oracle.verbose = 0
        self._search = search
        self._console = console
        self._status = status
        self._errors = []

    def run_trial(self, trial):
        """Returns the balanced error of a trial's run, infinity if it failed."""
        values = self._search.trial_values(trial.hyperparameters.values)
        title = " ".join(f"{name}={value:g}" for name, value in values.items())

        def show(state):
            self._status.update(rich.text.Text(f"{title}: {state}", no_wrap=True))

        began = time.monotonic()
        show("begins")
        error = self._error(values, show)
        self._errors.append(error)
        total, best = self._search.trials, min(self._errors)
        self._console.print(
            f"[{len(self._errors)}{f'/{total}' if total else ''}] {title}: "
            + ("failed" if error == math.inf else f"{error:.2f} %")
            + f" ({time.monotonic() - began:.0f} s)"
            + (f", best so far {best:.2f} %" if best < math.inf else ""),
            markup=False,
            soft_wrap=True,
        )
        return {OBJECTIVE: error}

    def _error(self, values, show):
        error = math.inf
        try:
            config = self._search.trial_config(values)
            if trials.read_failure(config.run_folder) is None:
                result = RunFolder(config).finished_result() or _trained(config, show)
                error = result.balanced_error
        except (RunDivergedError, worker.RunCrashedError) as failure:
            trials.write_failure(config.run_folder, values, first_line(failure))
        except (OSError, RunFailedError, ValueError) as failure:
            raise _FatalError(str(failure)) from None
        return error

    def on_trial_end(self, trial):
        """Ends a trial, as failed if it has no error."""
        # Raising in `run_trial`, KerasTuner's way, would print a trace of the stack.
        metrics = self.oracle.get_trial(trial.trial_id).metrics
        if metrics.get_last_value(OBJECTIVE) == math.inf:
            trial.status = "FAILED"
        super().on_trial_end(trial)


def _trained(config, show):
    def look():
        show(how_far(config))

    try:
        return worker.train(config, look)
    except worker.RunCrashedError as error:
        # Something else may have killed it, as for want of memory.
        show(f"{error}; it is tried again")
        return worker.train(config, look)
