"""KerasTuner's searches, made to be stopped: each trial is a run that goes on.

KerasTuner 1.4.8 writes one JSON file a trial and one for all, each in place. Killed
between two of them, it counts a trial as begun that nobody will ever end; killed
within one, it cannot be started again; and its grid search forgets where it was. So
what it knows is kept here in one file, which is whole at any moment.
"""

import itertools
import json
import time
from types import MappingProxyType
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.errors import FailedTrialError, FatalError
from keras_tuner.src.distribute import utils as distribute

from mm_tf import _files
from mm_tf.experiments.grids import grid
from mm_tf.experiments.runs.folder import RunFolder
from mm_tf.experiments.runs.run import RunDivergedError, RunFailedError
from mm_tf.experiments.searches import space
from mm_tf.experiments.searches.search import SearchFailedError

OBJECTIVE = "balanced_error"

# Of a `RunResult`, what a trial reports beside the objective.
_REPORTED = (
    "top1_error",
    "many_shot_error",
    "medium_shot_error",
    "few_shot_error",
    "training_seconds",
)

# A trial that fails says nothing about the next one, so they never end a search.
_NO_LIMIT = 10**9

_SECONDS_OF_A_LOOK = 0.5

# Of what a run prints, the lines that stay: how `mm_tf.checkpoints` begins its own.
_TOLD = "Goes on from"


def role():
    """Returns what this process is, as KerasTuner reads it from the environment."""
    try:
        if not distribute.has_chief_oracle():
            return "alone"
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    return "chief" if distribute.is_chief_oracle() else "worker"


def search(search, role, worker=None, console=None):
    """Runs a search, or this process's part of one."""
    import grpc

    oracle = _ORACLES[search.tuner](search)
    with worker or grid.Worker() as worker, _Progress(search, console) as to:
        tuner = _Tuner(oracle, search, worker, to)
        if role != "worker":
            oracle.begin(search.state, to)
        if role != "chief":
            config = search.config
            worker.load(config.dataset, config.data_dir, config.read_options)
        try:
            tuner.search()
        except grpc.RpcError as error:
            raise SearchFailedError(
                "The chief of the search cannot be reached "
                f"({error.code().name.lower()})."
            ) from None


class _KeptOracle(keras_tuner.Oracle):
    """An oracle that keeps all that it knows in one file."""

    path: Any = None
    progress: Any = None

    def begin(self, path, progress):
        """Takes up what the file holds, if it is there."""
        self.path, self.progress = path, progress
        if path.exists():
            self.reload()
        progress.take_up(self.trials.values())

    def save(self):
        """Writes the file, whole or not at all."""
        if self.path is None:
            return
        trials = [trial.get_state() for trial in self.trials.values()]
        text = json.dumps({"oracle": self.get_state(), "trials": trials})
        _files.write_text(self.path, text)

    def reload(self):
        """Reads the file, and queues the trials that were under way to go on."""
        try:
            text = _files.read_text(self.path, _files.MOST_BYTES_OF_TEXT)
            kept = json.loads(text)
            trials = [Trial.from_state(state) for state in kept["trials"]]
            state = dict(kept["oracle"])
            self.trials = {trial.trial_id: trial for trial in trials}
            # Whoever had a trial may never come back; whoever does finds its result.
            # KerasTuner writes its state before it takes an ended trial off.
            state["retry_queue"] = sorted(
                (t.trial_id for t in trials if t.status == TrialStatus.RUNNING),
                reverse=True,
            )
            state["ongoing_trials"] = {}
            self.set_state(state)
        # RuntimeError: JSON that is nested without end.
        except (
            LookupError,
            AttributeError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            raise SearchFailedError(
                f"{self.path} is damaged ({type(error).__name__}: {error}). Remove it: "
                "finished trials are found again as far as the same values are drawn."
            ) from None

    def _save_trial(self, trial):
        """Writes no file of each trial: they are all in one."""

    @keras_tuner.synchronized
    def end_trial(self, trial):
        """Ends a trial, and tells of it."""
        super().end_trial(trial)
        if self.progress is not None:
            self.progress.end(self.trials[trial.trial_id])


class _RandomOracle(_KeptOracle, keras_tuner.oracles.RandomSearchOracle):
    pass


class _BayesianOracle(_KeptOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    def populate_space(self, trial_id):
        """Returns the next values, drawn by chance of the trial's own."""
        # KerasTuner does not keep the state of its chance: after a stop it would
        # look at other places.
        self._random_state = np.random.RandomState(self.seed + len(self.trials))
        return super().populate_space(trial_id)


class _HyperbandOracle(_KeptOracle, keras_tuner.oracles.HyperbandOracle):
    pass


class _GridOracle(_KeptOracle):
    """All cells in their order, the last dimension fastest.

    KerasTuner's own `GridSearchOracle` keeps no state: after a stop it ends.
    """

    def populate_space(self, trial_id):
        """Returns the next cell, or that there is none."""
        dimensions = self.get_space().space
        every = itertools.product(*(dimension.values for dimension in dimensions))
        cell = next(itertools.islice(every, len(self.trials), None), None)
        if cell is None:
            return {"status": TrialStatus.STOPPED}
        names = [dimension.name for dimension in dimensions]
        values = dict(zip(names, cell, strict=True))
        return {"status": TrialStatus.RUNNING, "values": values}


def _common(search):
    return {
        "objective": keras_tuner.Objective(OBJECTIVE, "min"),
        "hyperparameters": space.hyperparameters(search.dimensions),
        # KerasTuner takes 0 for none, and draws one by chance.
        "seed": search.seed + 1,
        "max_consecutive_failed_trials": _NO_LIMIT,
    }


def _capped(kind):
    return lambda search: kind(max_trials=search.trials, **_common(search))


def _hyperband(search):
    return _HyperbandOracle(max_epochs=search.config.epochs, **_common(search))


_ORACLES = MappingProxyType(
    {
        "random": _capped(_RandomOracle),
        "bayesian": _capped(_BayesianOracle),
        "hyperband": _hyperband,
        "grid": _capped(_GridOracle),
    }
)


class _Tuner(keras_tuner.Tuner):
    """Trains each trial as a run in a folder of its own."""

    def __init__(self, oracle, search, worker, progress):
        super().__init__(
            oracle,
            directory=str(search.folder.parent),
            project_name=search.folder.name,
        )
        oracle.verbose = 0
        self._search = search
        self._worker = worker
        self._progress = progress
        self._is_idle = False

    def save(self):
        """Keeps the oracle, where it is in this process."""
        if isinstance(self.oracle, keras_tuner.Oracle):
            self.oracle.save()

    def pre_create_trial(self):
        """Waits before it asks again: KerasTuner asks without a pause."""
        if self._is_idle:
            time.sleep(_SECONDS_OF_A_LOOK)
        self._is_idle = True

    def on_trial_begin(self, trial):
        """Tells of it."""
        self._is_idle = False
        self._progress.begin(trial)

    def run_trial(self, trial):
        """Trains the run of a trial, or goes on with it; returns its errors."""
        values = trial.hyperparameters.values
        try:
            # A worker may be begun before its chief writes what the search is.
            self._search.check_folder()
            result = self._run(self._search.trial_config(trial.trial_id, values))
        except _OF_THE_TRIAL as error:
            failure = self._search.failure(trial.trial_id)
            failure.parent.mkdir(parents=True, exist_ok=True)
            _files.write_text(failure, f"{error}\n")
            raise FailedTrialError(str(error)) from None
        except (OSError, RunFailedError, ValueError) as error:
            raise _Fatal(str(error)) from None
        errors = {name: getattr(result, name) for name in (OBJECTIVE, *_REPORTED)}
        return {name: value for name, value in errors.items() if value is not None}

    def _run(self, config):
        self._wait_for(RunFolder(config))
        try:
            return self._worker.run(config, self._progress.show)
        except grid.RunCrashedError as error:
            # It may have been killed for what others did; its checkpoint is there.
            self._progress.show(f"{error}: once more")
            return self._worker.run(config, self._progress.show)

    def _wait_for(self, folder):
        """Waits for a process that outlived a search that was killed."""
        while folder.is_in_use:
            self._progress.show("waits for the process that still writes into it")
            time.sleep(_SECONDS_OF_A_LOOK)


class _Fatal(FatalError, SearchFailedError):
    """What ends KerasTuner's search."""


# What fails for the trial's own values; the rest would fail for all.
_OF_THE_TRIAL = (RunDivergedError, grid.RunCrashedError)


class _Progress:
    """A line for each trial that ends and, at a terminal, what is under way."""

    def __init__(self, search, console=None):
        from rich.console import Console

        self._console = console or Console(highlight=False)
        self._search = search
        self._status = self._console.status("")
        self._began: dict[str, float] = {}
        self._under_way = ""
        self._best = float("inf")
        self._ended = 0

    def __enter__(self):
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *_):
        self._status.stop()

    def take_up(self, trials):
        """Tells of the trials that are there."""
        trials = list(trials)
        ended = [trial for trial in trials if trial.status != TrialStatus.RUNNING]
        self._ended = len(ended)
        scores = [trial.score for trial in ended if trial.score is not None]
        self._best = min(scores, default=self._best)
        if trials:
            self._tell(
                f"Goes on: {len(ended)} trials are there, {len(trials) - len(ended)} "
                "were under way"
            )

    def begin(self, trial):
        """A trial begins, or goes on."""
        self._began[trial.trial_id] = time.monotonic()
        self._under_way = f"trial {trial.trial_id}: {self._values(trial)}"
        if not self._console.is_terminal:
            self._tell(f"Begins: {self._under_way}")
        self.show("begins")

    def show(self, state):
        """Says what the trial is at."""
        from rich.text import Text

        if state.startswith(_TOLD):
            self._tell(f"{self._under_way}: {state}")

        text = Text(f"{self._under_way}: {state}", overflow="ellipsis", no_wrap=True)
        self._status.update(text)

    def end(self, trial):
        """A trial ended."""
        self._ended += 1
        total = f"/{self._search.trials}" if self._search.trials else ""
        outcome = "failed"
        if trial.score is not None:
            outcome = f"{trial.score:.2f} %"
            self._best = min(self._best, trial.score)
        best = "" if self._best == float("inf") else f", best so far {self._best:.2f} %"
        began = self._began.pop(trial.trial_id, None)
        took = "" if began is None else f" ({time.monotonic() - began:.0f} s)"
        self._tell(
            f"[{self._ended}{total}] trial {trial.trial_id}: {self._values(trial)}: "
            f"{outcome}{took}{best}"
        )

    def _values(self, trial):
        values = self._search.trial_values(trial.hyperparameters.values)
        return " ".join(f"{name}={value:g}" for name, value in values.items())

    def _tell(self, line):
        self._console.print(line, markup=False, soft_wrap=True)
