"""The result of a run, and the folder in which it is kept."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import tempfile
from typing import Any

FLAGS = "flags.txt"
HISTORY = "history.csv"
MODEL = "model.keras"
PER_CLASS = "per_class_error.csv"
PREDICTIONS = "predictions.npz"
RESULT = "result.json"


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a run found. Errors are on the test images, in %.

    Attributes:
        method, setting, dataset, imbalance, imbalance_ratio, seed, subset_seed,
            epochs: As in the config.
        hyperparameters: The flags that the method's loss and weights take.
        class_names: The K names.
        class_counts: Training images of each class, [K].
        top1_error: After the last epoch.
        best_top1_error: The smallest of all epochs. Chosen on the test images, so
            it flatters.
        best_epoch: Its epoch, from 0.
        balanced_error: The mean over the classes, last epoch.
        per_class_error: [K], last epoch; None for a class without test images.
        many_shot_error, medium_shot_error, few_shot_error: The mean over the
            classes with > 100, 20 to 100, < 20 training images, last epoch; None
            where there is no such class.
        published_top1_error: Table 1's, None where there is none.
        protocol_differences: How the run's protocol differs from the paper's.
        images_per_second: Of training, in the median epoch.
        training_seconds: The time of the training steps of all epochs.
        backend, device, versions: What it ran on.
    """

    method: str
    setting: str
    dataset: str
    imbalance: str
    imbalance_ratio: float
    seed: int
    subset_seed: int
    epochs: int
    hyperparameters: dict[str, Any]
    class_names: list[str]
    class_counts: list[int]
    top1_error: float
    best_top1_error: float
    best_epoch: int
    balanced_error: float
    per_class_error: list[float | None]
    many_shot_error: float | None
    medium_shot_error: float | None
    few_shot_error: float | None
    published_top1_error: float | None
    protocol_differences: list[str]
    images_per_second: float
    training_seconds: float
    backend: str
    device: str
    versions: dict[str, str]

    def to_json(self):
        """Returns the result as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def read(cls, path):
        """Reads a `result.json`.

        Args:
            path: The file, or the run's folder.

        Raises:
            ValueError: There is none, or it holds something else.
        """
        path = pathlib.Path(path)
        if path.is_dir():
            path = path / RESULT
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            raise ValueError(f"There is no result of a run at {path}.") from None
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no result of a run: {error}") from None


class RunFolder:
    """A run's folder: whole or not there.

    A run writes into `<folder>.incomplete` beside it, which takes the folder's
    place when everything is written.

    Args:
        config: The `RunConfig`.
    """

    def __init__(self, config):
        self.path = config.run_folder
        self.incomplete = self.path.with_name(self.path.name + ".incomplete")
        self._config = config

    def finished_result(self):
        """Returns the result of the same run if it is there already, or None.

        Raises:
            ValueError: The folder is in use: by another run, or by other files.
        """
        if self._config.overwrite or not self.path.exists():
            return None
        if not self.path.is_dir():
            raise ValueError(f"`output_dir` is not a folder. Received: {self.path}")
        if not any(self.path.iterdir()):
            return None
        if not (self.path / FLAGS).exists() or not (self.path / RESULT).exists():
            raise ValueError(
                "`output_dir` must be a new or empty folder, and this one holds other "
                f"files. Received: output_dir={self.path}"
            )
        there = set((self.path / FLAGS).read_text().splitlines())
        here = set(self._flags().splitlines())
        if here != there:
            differences = ", ".join(sorted(there - here)) or "fewer flags"
            raise ValueError(
                "`output_dir` holds another run (its flags that differ: "
                f"{differences}). Give another --output_dir, or --overwrite. "
                f"Received: output_dir={self.path}"
            )
        return RunResult.read(self.path)

    def prepare(self):
        """Makes the folder to write into, with the run's flags.

        Raises:
            ValueError: It cannot be written.
        """
        try:
            if self.incomplete.exists():
                shutil.rmtree(self.incomplete)
            self.incomplete.mkdir(parents=True)
            (self.incomplete / FLAGS).write_text(self._flags())
        except OSError as error:
            raise ValueError(
                f"`output_dir` cannot be written ({error.strerror}). "
                f"Received: output_dir={self.path}"
            ) from None

    def finish(self):
        """Puts the written folder in its place."""
        if self.path.exists():
            with tempfile.TemporaryDirectory(dir=self.path.parent) as away:
                os.replace(self.path, pathlib.Path(away) / self.path.name)
                os.replace(self.incomplete, self.path)
        else:
            os.replace(self.incomplete, self.path)

    def discard_if_empty(self):
        """Takes away the folder of a run that failed before its first epoch."""
        if not (self.incomplete / HISTORY).exists():
            with contextlib.suppress(OSError):
                shutil.rmtree(self.incomplete)

    def _flags(self):
        return self._config.to_flagfile()
