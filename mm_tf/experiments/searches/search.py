"""A search for hyper-parameters: what it is, its folder, and how it is run."""

import contextlib
import dataclasses
import json
import pathlib

import filelock

from mm_tf import _files
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.searches import space

TUNERS = ("random", "bayesian", "hyperband", "grid")

SEARCH = "search.json"
STATE = "tuner.json"
LOCK = "lock"
LOGS = "logs"
TRIALS = "trials"

# What a worker leaves on a machine of its own, where its chief writes nothing.
_OF_A_WORKER = frozenset({LOCK, LOGS, TRIALS})

# A search that was killed may take this long to let go of its folder.
_SECONDS_TO_WAIT = 10


class SearchFailedError(RuntimeError):
    """A search cannot go on: what stops one trial would stop them all."""


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search is.

    Attributes:
        config: The `RunConfig` of all that does not vary, its hold-out included.
        tuner: One of `TUNERS`.
        dimensions: The `space.Dimension`s that vary.
        trials: The most trials; None where the tuner itself says how many.
        seed: The tuner's seed, >= 0.
        folder: The search's own folder.
    """

    config: RunConfig
    tuner: str
    dimensions: tuple[space.Dimension, ...]
    trials: int | None
    seed: int
    folder: pathlib.Path

    @property
    def is_honest(self):
        """Whether the test images choose nothing."""
        return self.config.evaluated_on == "holdout"

    @property
    def state(self):
        """The file of what the tuner knows."""
        return self.folder / STATE

    def trial_config(self, trial_id, numbers):
        """Returns the `RunConfig` of a trial."""
        return dataclasses.replace(
            self.config,
            **self.trial_values(numbers),
            output_dir=str(self.trial_folder(trial_id)),
        )

    def trial_values(self, numbers):
        """Returns the values of flags that numbers of a tuner stand for."""
        values = space.values_of(self.dimensions, numbers)
        # Hyperband's rungs: short runs, whose schedules move in proportion.
        epochs = numbers.get("tuner/epochs")
        return values if epochs is None else {**values, "epochs": int(epochs)}

    def trial_folder(self, trial_id):
        """Returns the folder of a trial's run."""
        return self.folder / TRIALS / trial_id

    def failure(self, trial_id):
        """Returns the file that says why a trial failed, where it did."""
        return self.folder / TRIALS / f"{trial_id}.failure.txt"

    def identity(self):
        """What the search is, without where it is kept: {flag: value}.

        More trials are the same search, which goes on.
        """
        searched = {dimension.name for dimension in self.dimensions}
        fixed = {
            name: value
            for name, value in self.config.identity().items()
            if name not in searched
        }
        return {
            **fixed,
            "tuner": self.tuner,
            "search": ",".join(map(str, self.dimensions)),
            "search_seed": self.seed,
            "select_on": self.config.evaluated_on,
        }

    def check_folder(self):
        """Checks that the folder is new, or holds this search."""
        try:
            if self.folder.exists() and not self.folder.is_dir():
                raise ValueError(
                    "`output_dir` must be a folder. "
                    f"Received: output_dir={str(self.folder)!r}"
                )
            names = set()
            if self.folder.exists():
                names = {path.name for path in self.folder.iterdir()}
            if SEARCH not in names:
                strange = names - _OF_A_WORKER
                if strange:
                    raise ValueError(
                        "`output_dir` must be a new or empty folder or that of a "
                        f"search, and this one holds other files ({min(strange)}). "
                        f"Received: output_dir={str(self.folder)!r}"
                    )
                return
            there = self._read_identity()
        except OSError as error:
            raise self._cannot_be("read", error) from None
        # As it was written: JSON has no tuples, and one kind of number.
        here = json.loads(json.dumps(self.identity()))
        sides = [
            f"--{name}={side[name]} {where}"
            for name in sorted({*there, *here})
            if there.get(name) != here.get(name)
            for side, where in ((there, "there"), (here, "here"))
            if side.get(name) is not None
        ]
        if sides:
            raise ValueError(
                f"`output_dir` holds another search ({'; '.join(sides)}). Give those "
                "flags to go on with it, or another --output_dir. "
                f"Received: output_dir={str(self.folder)!r}"
            )

    def _read_identity(self):
        path = self.folder / SEARCH
        try:
            there = json.loads(_files.read_text(path, _files.MOST_BYTES_OF_FLAGS))
            if not isinstance(there, dict):
                raise ValueError("it is no list of flags")
        except ValueError as error:
            raise ValueError(
                f"`output_dir` has a damaged {SEARCH} ({error}). Remove it to go on. "
                f"Received: output_dir={str(self.folder)!r}"
            ) from None
        return there

    @contextlib.contextmanager
    def claimed(self):
        """Holds the folder, against another process that searches into it."""
        self.check_folder()
        lock = filelock.FileLock(self.folder / LOCK)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=_SECONDS_TO_WAIT)
        except filelock.Timeout:
            raise ValueError(
                "`output_dir` is in use: another process searches into it. "
                f"Received: output_dir={str(self.folder)!r}"
            ) from None
        except OSError as error:
            raise self._cannot_be("written", error) from None
        try:
            self.check_folder()
            text = json.dumps(self.identity(), indent=2) + "\n"
            _files.write_text(self.folder / SEARCH, text)
            yield
        except OSError as error:
            raise SearchFailedError(str(self._cannot_be("written", error))) from None
        finally:
            lock.release()

    def _cannot_be(self, what, error):
        reason = getattr(error, "strerror", None) or error
        return ValueError(
            f"`output_dir` cannot be {what} ({reason}). "
            f"Received: output_dir={str(self.folder)!r}"
        )


def run_search(search, worker=None, console=None):
    """Runs the trials of a search that are not there yet.

    Trials that are finished stay. One that was stopped, even by `kill -9`, goes on
    from its own checkpoint. One that diverges is told and kept as failed, and the
    search goes on without it.

    With `KERASTUNER_TUNER_ID`, `KERASTUNER_ORACLE_IP` and `KERASTUNER_ORACLE_PORT`
    in the environment, which KerasTuner reads, it is the chief of a search that hands
    out trials until all are finished, or one of its workers, which trains them.
    """
    from mm_tf.experiments.searches import tuners

    role = tuners.role()
    if role == "worker":
        tuners.search(search, role, worker, console)
        return False
    with search.claimed():
        tuners.search(search, role, worker, console)
    return True
