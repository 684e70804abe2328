"""What a search for hyperparameters is, and its folder."""

import dataclasses
import json
import pathlib

from mm_tf import _files
from mm_tf._text import first_line
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.searches import space

TUNERS = ("random", "bayesian", "hyperband", "grid")

SEARCH = "search.json"
TRIALS = "trials"


class SearchFailedError(RuntimeError):
    """A search cannot continue: what stops one trial would stop them all."""


def read_json(path):
    """Returns the dictionary in a JSON file of a search."""
    try:
        found = json.loads(_files.read_text(path, _files.MOST_BYTES_OF_FLAGS))
        if isinstance(found, dict):
            return found
        reason = "it is not a dictionary"
    except (RecursionError, ValueError) as error:
        reason = first_line(error)
    raise ValueError(
        f"`output_dir` has a damaged file ({reason}). Remove it to resume. "
        f"Received: {path}"
    )


def trial_name(values):
    """Returns the name of the folder of a trial with these values, {flag: number}."""
    return "_".join(f"{name}={value}" for name, value in values.items())


@dataclasses.dataclass(frozen=True)
class Search:
    """A search.

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
    def names(self):
        """The flags of the dimensions."""
        return [dimension.name for dimension in self.dimensions]

    @property
    def varied(self):
        """The flags that differ between trials: Hyperband varies the epochs too."""
        return [*self.names, "epochs"] if self.tuner == "hyperband" else self.names

    def trial_values(self, drawn):
        """Returns the values of flags, {flag: value}, for what a tuner drew."""
        values = {each.name: each.value(drawn[each.name]) for each in self.dimensions}
        # Hyperband's short trials are whole runs: their schedules shrink with them.
        epochs = drawn.get("tuner/epochs")
        return values if epochs is None else {**values, "epochs": int(epochs)}

    def trial_config(self, values):
        """Returns the `RunConfig` of a trial, whose folder its values name."""
        folder = str(self.folder / TRIALS / trial_name(values))
        return self.config.with_values({**values, "output_dir": folder})

    def identity(self):
        """What decides the trials, {flag: value}; more of them are the same search."""
        flags = self.config.identity().items()
        return {
            **{name: value for name, value in flags if name not in self.names},
            "tuner": self.tuner,
            "search": ",".join(map(str, self.dimensions)),
            "search_seed": self.seed,
            "select_on": self.config.evaluated_on,
        }

    def check_folder(self):
        """Raises a ValueError unless the folder is new or holds this search."""
        received = f"Received: output_dir={str(self.folder)!r}"
        path = self.folder / SEARCH
        if not path.exists():
            _files.check_folder(
                "output_dir",
                self.folder,
                lambda name: not name.startswith("."),
                "a new or empty folder or that of a search",
            )
            return
        there = read_json(path)
        here = json.loads(json.dumps(self.identity()))  # JSON has no tuples.
        differences = [
            f"--{name}={flags[name]} {where}"
            for name in sorted({*there, *here})
            for flags, where in ((there, "there"), (here, "here"))
            if there.get(name) != here.get(name) and flags.get(name) is not None
        ]
        if differences:
            raise ValueError(
                f"`output_dir` holds another search ({'; '.join(differences)}). Give "
                f"its flags, or {_files.free_flag(self.folder)}. {received}"
            )

    def begin(self):
        """Makes the folder, and writes what the search is."""
        self.check_folder()
        self.folder.mkdir(parents=True, exist_ok=True)
        text = _files.json_text(self.identity(), indent=2)
        _files.write_text(self.folder / SEARCH, text)
